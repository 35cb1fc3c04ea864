"""`leeway log`: what the database keeps of predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import HELP, DatabaseUrl, examples, parse_length, plain_errors
from leeway.settings import Settings

_LONGEST_S = 100 * 366 * 86_400

log = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Delete old predictions.",
    help="Maintain the prediction log.",
)


@log.callback()
def log_group() -> None:
    """Maintain the prediction log."""


@log.command(
    "prune",
    short_help="Delete what is older than a length of time.",
    epilog=examples("leeway log prune --keep 90d --dry-run", "leeway log prune --keep 90d"),
)
def prune(
    keep: Annotated[str, typer.Option(metavar="LENGTH", help="How long to keep: a number and s, m, h or d")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; delete nothing")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete predictions, their labels, rejection counts and drift runs that are older than LENGTH.

    It deletes the oldest first, in small transactions, while the service runs; after Ctrl-C, the next call continues.
    Snapshots of customers stay, and the last drift runs of each model. Exit codes: 0 done, 2 bad input, or the
    database is unreachable.
    """
    from datetime import UTC, datetime

    from leeway.store.engine import DatabaseError, open_engine
    from leeway.store.retention import prune as prune_database

    length = parse_length(keep, "--keep", longest_s=_LONGEST_S)
    settings = Settings.read(database_url=database_url)
    before = datetime.now(UTC) - length
    with plain_errors(DatabaseError):
        engine = open_engine(settings.database_url)
        try:
            deleted = prune_database(engine, before, is_dry_run=dry_run)
        finally:
            engine.dispose()
    counted = ", ".join(
        f"{deleted[kind]:,} {kind}" for kind in ("predictions", "labels", "rejection counts", "drift runs")
    )
    print(f"{'would delete' if dry_run else 'deleted'} {counted} from before {before:%Y-%m-%d %H:%M} UTC")
