"""`leeway log`: what the database or Delta tables keep of predictions."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cli.options import FAILED, HELP, BundleFolder, DatabaseUrl, examples, parse_length, plain_errors, setting, stop
from leeway.settings import ErasureSettings, Settings

_LONGEST_S = 100 * 366 * 86_400
_DRAIN_TIMEOUT_S = 10.0
"""How long `forget` waits for the drainer."""

log = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Delete old predictions, or a customer's data.",
    help="Maintain the prediction log.",
)


@log.callback()
def log_group() -> None:
    """Maintain the prediction log."""


@log.command(
    "create",
    short_help="Create the Delta tables for a model.",
    epilog=examples("LEEWAY_LOG=delta:lake leeway log create"),
)
def create(bundle: BundleFolder = None, database_url: DatabaseUrl = None) -> None:
    """Create the Delta tables of LEEWAY_LOG for the bundle's features, if they are missing; `leeway setup` does it too.

    Call it once, not on several machines at the same time. Exit codes: 0 done, 2 bad input, or a table cannot be
    created.
    """
    from leeway.model import bundle as bundles
    from leeway.model.manifest import BundleError
    from leeway.store.delta import create_delta_tables
    from leeway.store.engine import DatabaseError, opened_engine

    settings = Settings.read(bundle=bundle, database_url=database_url)
    delta = _delta(settings)
    with plain_errors(DatabaseError, BundleError), opened_engine(settings.database_url) as engine:
        schema = bundles.load(settings.bundle, lazy_scorer=True).schema
        is_new = create_delta_tables(delta, engine, schema)
    print(f"{'Created' if is_new else 'There already are'} the Delta tables of this model in {delta}")


@log.command(
    "compact",
    short_help="Merge the small files of Delta tables.",
    epilog=examples("LEEWAY_LOG=delta:lake leeway log compact"),
)
def compact(database_url: DatabaseUrl = None) -> None:
    """Merge the small files of LEEWAY_LOG's Delta tables, and delete files that nothing has needed for seven days.

    Services, drift workers and Spark may go on meanwhile. Exit codes: 0 done, 2 bad input, or the database or a table
    is unreachable.
    """
    from leeway.store.delta_retention import compact as compact_delta
    from leeway.store.engine import DatabaseError, opened_engine
    from leeway.store.retention import schema_suffixes

    settings = Settings.read(database_url=database_url)
    delta = _delta(settings)
    _check_database(settings)
    with plain_errors(DatabaseError), opened_engine(settings.database_url) as engine:
        files = compact_delta(delta, schema_suffixes(engine))
    print(
        f"replaced {files['replaced']:,} files by {files['new']:,}, deleted {files['deleted']:,} that were not needed"
    )


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
    It keeps customers' snapshots and the last drift runs of each model. In Delta tables it deletes whole days. Exit
    codes: 0 done, 2 bad input, or the database or a table is unreachable.
    """
    from datetime import UTC, datetime

    from leeway.store.delta_retention import prune as prune_delta
    from leeway.store.engine import DatabaseError, opened_engine
    from leeway.store.retention import KINDS, note_pruning, schema_suffixes
    from leeway.store.retention import prune as prune_database

    length = parse_length(keep, "--keep", longest_s=_LONGEST_S)
    settings = Settings.read(database_url=database_url)
    _check_database(settings)
    before = datetime.now(UTC) - length
    with plain_errors(DatabaseError), opened_engine(settings.database_url) as engine:
        deleted = prune_database(engine, before, is_dry_run=dry_run)
        if settings.delta:
            suffixes = schema_suffixes(engine)
            old = prune_delta(settings.delta, suffixes, before, is_dry_run=True)
            if not dry_run:
                if old["predictions"]:
                    note_pruning(engine, before)
                prune_delta(settings.delta, suffixes, before)
            deleted += old
    print(f"{_counted(deleted, KINDS, is_dry_run=dry_run)} from before {before:%Y-%m-%d %H:%M} UTC")


@log.command(
    "forget",
    short_help="Delete all data of a customer.",
    epilog=examples("leeway log forget --user 7590-VHVEG --dry-run", "leeway log forget --user 7590-VHVEG"),
)
def forget(
    user: Annotated[str, typer.Option(metavar="ID", help="The customer's id, as in requests")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; delete nothing")] = False,
    database_url: DatabaseUrl = None,
    spool: Annotated[Path | None, setting(ErasureSettings, "spool")] = None,
    reports: Annotated[Path | None, setting(ErasureSettings, "reports")] = None,
) -> None:
    """Delete a customer's predictions, snapshots and labels, in the database, Delta tables, and the spool.

    It also deletes Evidently's reports that may show them, including all reports of windows whose predictions were
    pruned, and drops predictions that reach the database later. It works while the service runs, and can be repeated.
    Exit codes: 0 done, 1 not all is overwritten yet: repeat it, 2 bad input, or a database or folder cannot be used.
    """
    from drift.report.folder import ReportError, ReportFolder
    from leeway.schema import TEXT_PATTERN
    from leeway.store.delta_retention import forget as forget_in_delta
    from leeway.store.delta_retention import prediction_times
    from leeway.store.engine import DatabaseError, opened_engine
    from leeway.store.retention import CUSTOMER_KINDS, customer_times, empty_write_ahead_log, schema_suffixes
    from leeway.store.retention import forget as forget_in_database
    from service.spool.erasure import SpoolError, count_in_spool, erase_from_spool

    if not re.fullmatch(TEXT_PATTERN, user) or re.search("[\ud800-\udfff]", user):  # these stand for invalid UTF-8
        stop(f"--user {user!r} cannot be the id of a customer")
    settings = ErasureSettings.read(database_url=database_url, spool=spool, reports=reports)
    _check_database(settings)
    folder, path = ReportFolder(settings.reports, trace_url=settings.trace_url), settings.spool
    with plain_errors(DatabaseError, SpoolError, ReportError):
        with opened_engine(settings.database_url) as engine:
            times, delta = customer_times(engine, user), settings.delta
            if delta:
                times.predicted_at.extend(prediction_times(delta, schema_suffixes(engine), user))
            found = folder.reports_of(times.predicted_at, times.as_of)
            before = folder.reports_before(times.pruned_before) if times.pruned_before else []
            unknown = [path for path in before if path not in found]
            if not dry_run:
                folder.delete_reports([*found, *unknown])  # first: a repeated call could no longer tell which
            deleted = forget_in_database(engine, user, is_dry_run=dry_run)
            if delta:
                deleted += forget_in_delta(delta, engine, schema_suffixes(engine), user, is_dry_run=dry_run)
            is_overwritten = dry_run or empty_write_ahead_log(engine)
        spooled = count_in_spool(path, user) if dry_run else erase_from_spool(path, user, timeout_s=_DRAIN_TIMEOUT_S)
    deleted += Counter({
        "records in the spool": spooled.records,
        "dead letters": spooled.dead_letters,
        "report files": len(found) + len(unknown),
    })  # fmt: skip
    kinds = (*CUSTOMER_KINDS, "records in the spool", "dead letters", "report files")
    print(f"{_counted(deleted, kinds, is_dry_run=dry_run)} of customer {user!r}")
    if unknown:
        print(
            f"for {len(unknown):,} of the report files it is unknown whether they show the customer: predictions from"
            f" before {times.pruned_before:%Y-%m-%d %H:%M} UTC were pruned"
        )
    if spooled.waiting:
        stop(
            f"{spooled.waiting:,} records still wait in the spool {path}: the drainer will drop them; repeat this "
            "command afterwards",
            FAILED,
        )
    if not is_overwritten:
        stop(
            "deleted rows are still in SQLite's write-ahead log, which another process is reading: repeat this command",
            FAILED,
        )


def _delta(settings: Settings) -> str:
    """The location of the Delta tables; without one the command ends."""
    if settings.delta is None:
        stop("LEEWAY_LOG is 'database', which has no Delta tables: set it to delta:FOLDER or delta:s3://BUCKET/PATH")
    return settings.delta


def _check_database(settings: Settings) -> None:
    """Stop if there is no SQLite file: it would be created, and nothing in it deleted."""
    from leeway.store.engine import sqlite_file

    file = sqlite_file(settings.database_url)
    if file is not None and not file.exists():
        stop(f"no database at {file}: set LEEWAY_DATABASE_URL, or call this command where the service runs")


def _counted(deleted: Counter[str], kinds: tuple[str, ...], *, is_dry_run: bool) -> str:
    counted = ", ".join(f"{deleted[kind]:,} {kind}" for kind in kinds)
    return f"{'would delete' if is_dry_run else 'deleted'} {counted}"
