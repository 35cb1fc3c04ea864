"""`leeway demo`: everything on this machine, without Docker and network, as a story in acts."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Final

from cli.commands.ingest import open_snapshots
from cli.commands.train import churn_origin, labelled_month, month_data
from cli.demo.evidence import Evidence, gather
from cli.demo.page import render
from cli.demo.play import Director, Played
from cli.demo.processes import running
from cli.demo.screen import Screen
from cli.demo.story import Act, story
from cli.demo.traffic import strengths
from cli.demo.words import closing
from cli.demo.workshop import REPORTS_PORT, SERVICE_PORT, Pace, Workshop, WorkshopError, port_or_free
from cli.http import HttpClient, Target
from cli.options import FAILED, console, plain_errors
from cli.traffic.rows import PopulationRows
from drift.report.folder import ReportFolder
from leeway.data.population import AS_OF, population
from leeway.model.bundle import Bundle, BundleError
from leeway.model.training import train
from leeway.shutdown import interrupt_on_stop_signal
from leeway.store.engine import DatabaseError

INTERRUPTED: Final = 130
NEXT_MONTH: Final = date(2024, 2, 29)
"""The model is trained on one month and serves the next, whose labels are not known yet."""
TIMEOUT_S: Final = 10.0
ERRORS: Final = (WorkshopError, BundleError, DatabaseError, OSError)


def run_demo(folder: Path, lasts_s: float, rate: float) -> int:
    """Make customers and a model, serve it, play the story, leave a page; return the exit code. Ctrl-C at any time."""
    out = console()
    shop, screen = Workshop(folder), Screen(out)
    with ExitStack() as stack:
        with plain_errors(WorkshopError):
            stack.enter_context(shop.opened())
        try:
            with plain_errors(*ERRORS, code=FAILED), interrupt_on_stop_signal() as go_on:
                evidence = _perform(screen, shop, story(lasts_s), rate, go_on)
                _leave(screen, shop, evidence)
        except KeyboardInterrupt:
            screen.say(f"Stopped; what was made is in {folder}")
            return INTERRUPTED
    return 0


def _perform(screen: Screen, shop: Workshop, acts: Sequence[Act], rate: float, go_on: Callable[[], None]) -> Evidence:
    """Everything from the customers to the end of the last act; all that was started has ended then.

    `go_on` raises KeyboardInterrupt where one was swallowed on the way: training has been seen to do that.
    """
    with screen.stage("Making up customers") as said:
        rows = _customers(shop, acts)
        said.append(f"{len(rows.user_ids):,}, by stated rules; nothing is downloaded")
    with screen.stage("Training the model") as said:
        bundle = _train(shop)
        area = bundle.card.roc_auc
        said.append(f"{bundle.version}, ROC AUC {area.value:.2f} on customers it never saw" if area else bundle.version)
    go_on()
    played, pace = Played(acts), Pace.of(sum(act.lasts_s for act in acts), rate)
    with ExitStack() as stack:
        url = _start(screen, shop, pace, stack)
        go_on()
        try:
            asyncio.run(_play(screen, url, rows, rate, shop.reports, played))
        except ExceptionGroup as group:
            raise _first(group) from group
    played.runs = ReportFolder(shop.reports).runs()[::-1]
    return gather(shop, played, f"{bundle.name} {bundle.version}", pace)


def _customers(shop: Workshop, acts: Sequence[Act]) -> PopulationRows:
    """Two months: of the first the labels are known, and of the second nobody knows yet who leaves."""
    snapshots = open_snapshots(shop.database_url)
    for as_of, people, known in ((AS_OF, population(), True), (NEXT_MONTH, population(1), False)):
        snapshots.ingest(as_of, people.user_ids, people.columns, people.labels if known else None)
    return PopulationRows(strengths(acts), month=1)


def _train(shop: Workshop) -> Bundle:
    month = labelled_month(open_snapshots(shop.database_url), AS_OF)
    return train(month_data(month), shop.bundle, churn_origin(AS_OF))


def _start(screen: Screen, shop: Workshop, pace: Pace, stack: ExitStack) -> str:
    """Start both processes side by side, and return the service's address."""
    service_port, reports_port = _port(screen, SERVICE_PORT), _port(screen, REPORTS_PORT)
    environment = shop.environment(service_port, reports_port, pace)
    worker = stack.enter_context(running("drift", shop.log("drift"), environment, ready="/healthz", gives_way=True))
    service = stack.enter_context(running("service", shop.log("service"), environment, ready="/health/ready"))
    stack.callback(worker.terminate)  # both end at once: the wait for one is that for the other
    with screen.stage("Starting the service") as said:
        url = service.url()
        said.append(f"serving on {url}")
    with screen.stage("Starting the drift worker") as said:
        said.append(f"its page is {worker.url()}")
    return url


def _port(screen: Screen, wanted: int) -> int:
    port = port_or_free(wanted)
    if port != wanted:
        screen.say(f"Port {wanted} is taken by somebody else: using {port}")
    return port


def _first(error: Exception) -> Exception:
    """What went wrong first, out of a group of groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _play(screen: Screen, url: str, rows: PopulationRows, rate: float, reports: Path, played: Played) -> None:
    over, client, folder = asyncio.Event(), HttpClient(Target.parse(url), TIMEOUT_S), ReportFolder(reports)
    director = Director(client, rows, rate, lambda: folder.runs()[::-1])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(screen.show(played, over))
            await director.play(played, over)
    finally:
        client.close()


def _leave(screen: Screen, shop: Workshop, evidence: Evidence) -> None:
    """Write the page, and say what happened and where to look."""
    reports = ReportFolder(shop.reports)
    shop.page.write_text(render(evidence, reports.files(reports.runs()), _commands(shop)), encoding="utf-8")
    screen.say("")
    for line in closing(evidence):
        screen.say(line)
    screen.say(f"Look at {shop.page} in a browser. Everything else is in {shop.folder}, and nothing runs any more.")


def _commands(shop: Workshop) -> list[tuple[str, str]]:
    """What to try next, and why."""
    ours = ["--bundle", str(shop.bundle), "--database-url", shop.database_url]
    return [
        (
            f"LEEWAY_FAULTS=on {shlex.join(['leeway', 'serve', *ours])}",
            "Serve this model again; then open http://127.0.0.1:8000/docs",
        ),
        (
            shlex.join(["leeway", "drift", "worker", *ours, "--interval", "10", "--window", "60"]),
            "Watch it for drift; its page is http://127.0.0.1:8001",
        ),
        ("leeway traffic --drift 1 --duration 120", "Send it requests that drift"),
        ("leeway faults on --help", "Make it slow, or fail, for a while"),
        ("COMPOSE_PROFILES=traffic docker compose up --build", "The whole stack; Grafana is at http://127.0.0.1:3000"),
    ]
