"""`leeway demo`: everything on this machine, without Docker and network."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.data import card_table, churn_origin, labelled_month, month_data
from cli.ingest import open_snapshots
from cli.options import FAILED, console, plain_errors, sigterm_as_ctrl_c
from cli.trace_view import key_metrics, trace_tree, wait_for_trace
from cli.workshop import Workshop, WorkshopError, serving
from leeway.bundle import Bundle, BundleError
from leeway.database import DatabaseError
from leeway.population import AS_OF, Population, population
from leeway.training import train

CUSTOMER = "7590-VHVEG"
INTERRUPTED = 130


def run_demo(folder: Path, requests: int) -> int:
    """Build the population, train, serve, ask, show, stop; return the exit code. Ctrl-C at any time."""
    out = console()
    shop = Workshop(folder)
    with plain_errors(WorkshopError):
        shop.prepare()
    try:
        with (
            plain_errors(WorkshopError, BundleError, DatabaseError, httpx2.HTTPError, OSError, code=FAILED),
            sigterm_as_ctrl_c(),
        ):
            _show(out, shop, requests)
    except KeyboardInterrupt:
        out.print("Stopped; what was made is in", folder)
        return INTERRUPTED
    return 0


def _show(out: Console, shop: Workshop, requests: int) -> None:
    with out.status("Building the population…"):
        people = population()
        month = _load(shop, people)
    out.print(f"[green]✓[/] {month:,} customers, made up here (nothing is downloaded)")
    with out.status("Training the model…"):
        bundle = _train(shop)
    out.print(card_table(bundle))
    with serving(shop) as url:
        out.print(f"[green]✓[/] serving on {url}")
        answer = _ask(out, url, people, requests)
        wait_for_trace(shop.spans, answer["trace_id"])
        out.print("\n[bold]One answer[/]")
        out.print_json(json.dumps(answer))
        out.print(key_metrics(httpx2.get(f"{url}/metrics", trust_env=False).raise_for_status().text))
        out.print(trace_tree(shop.spans, answer["trace_id"]))
    out.print(f"[green]✓[/] stopped cleanly; {_recorded(shop):,} predictions are in {shop.database_url}")
    command = shlex.join(["leeway", "serve", "--bundle", str(shop.bundle), "--database-url", shop.database_url])
    out.print(f"Next: `{command}`, then open /docs", markup=False)


def _load(shop: Workshop, people: Population) -> int:
    return open_snapshots(shop.database_url).ingest(AS_OF, people.user_ids, people.columns, people.labels)


def _train(shop: Workshop) -> Bundle:
    month = labelled_month(open_snapshots(shop.database_url), AS_OF)
    return train(month_data(month), shop.bundle, churn_origin(AS_OF))


def _ask(out: Console, url: str, people: Population, requests: int) -> dict[str, Any]:
    """Send requests by customer and by features; return the answer for our best-known customer."""
    columns = TextColumn("Sending requests"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A proxy of the environment has no business between this machine and itself.
    with httpx2.Client(base_url=url, trust_env=False) as client, Progress(*columns, console=out) as progress:
        for number in progress.track(range(requests)):
            place = number % len(people.user_ids)
            by_id = number % 2 == 0
            body = {"user_id": people.user_ids[place]} if by_id else {"features": people.row(place)}
            client.post("/predict", json=body).raise_for_status()
        answer: dict[str, Any] = client.post("/predict", json={"user_id": CUSTOMER}).raise_for_status().json()
    return answer


def _recorded(shop: Workshop) -> int:
    import sqlite3

    with sqlite3.connect(shop.database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM predictions").fetchone()
    return int(count)
