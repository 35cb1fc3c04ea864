"""`leeway drift run`, `leeway drift check` and `leeway drift worker`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    FAILED,
    HELP,
    BundleFolder,
    DatabaseUrl,
    console,
    examples,
    ignore_invalid_telemetry,
    parse_length,
    plain_errors,
    setting,
    stop,
)
from leeway.settings import DriftSettings, SourceSettings

if TYPE_CHECKING:
    from rich.table import Table

    from drift.inputs import ComparisonInputs
    from drift.result import RunResult
    from leeway.model.bundle import Bundle

RETRAIN = 3
LIVE = ("bundle", "live")
SourceUrl = Annotated[str | None, setting(SourceSettings, "source")]
MappingFile = Annotated[Path | None, setting(SourceSettings, "mapping")]
By = Annotated[str | None, setting(SourceSettings, "by")]
MaxRows = Annotated[int | None, setting(SourceSettings, "max_rows")]

drift = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Compare served predictions with the training data.",
    help="Compare served predictions with the data that the model was trained on.",
)


@drift.command(
    "run",
    short_help="Make one comparison and print it.",
    epilog=examples(
        "leeway drift run --reference bundle --current live --window 1h",
        "leeway drift run --reference 2024-01-31 --current 2024-02-29",
        "leeway drift run --source scored/ --reference train.parquet --current live",
    ),
)
def drift_run(
    reference: Annotated[
        str,
        typer.Option(
            metavar="DATE|bundle|…",
            help="An ingested month, or the bundle's reference (held-out rows). With --source: days like"
            " 2026-10-01..2026-10-31, a folder of `leeway reference make`, another table, a file or URL, or bundle",
        ),
    ],
    current: Annotated[
        str,
        typer.Option(
            metavar="DATE|live",
            help="An ingested month, or the served predictions. With --source: days like 2026-11-01..2026-11-30,"
            " or live",
        ),
    ],
    window: Annotated[
        str, typer.Option(metavar="TIME", help="With `live`: how far back to look, like 90s, 15m or 1h")
    ] = "15m",
    report_dir: Annotated[Path | None, setting(DriftSettings, "reports", "--report-dir")] = None,
    report: Annotated[bool | None, setting(DriftSettings, "drift_report", "--report/--no-report")] = None,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit with 3 for RETRAIN")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else")] = False,
    result_file: Annotated[
        Path | None, typer.Option("--result", metavar="FILE", help="Write the result as JSON to this file as well")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the first two lines only")] = False,
    source: SourceUrl = None,
    mapping: MappingFile = None,
    max_rows: MaxRows = None,
    by: By = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make one comparison and print it.

    Exit codes: 0 compared, 1 the comparison failed, 2 bad input, 3 RETRAIN with --fail-on-drift.
    """
    settings = DriftSettings.read(
        reports=report_dir,
        drift_report=report,
        source=source,
        mapping=mapping,
        max_rows=max_rows,
        by=by,
        bundle=bundle,
        database_url=database_url,
    )
    result = _compare(settings, reference, current, window)
    if result_file is not None:
        with plain_errors(OSError, code=FAILED):
            result_file.write_bytes(result.to_file())
    _print(result, as_json=as_json, quiet=quiet)
    if result.decision == "UNKNOWN":
        raise typer.Exit(FAILED)
    raise typer.Exit(RETRAIN if fail_on_drift and result.recommendation == "RETRAIN" else 0)


@drift.command(
    "check",
    short_help="Check that there is something to compare.",
    epilog=examples("leeway drift check --reference 2024-01-31 --current 2024-02-29"),
)
def drift_check(
    reference: Annotated[
        str,
        typer.Option(
            metavar="DATE|…",
            help="An ingested month. With --source: days like 2026-10-01..2026-10-31; any other reference is not read",
        ),
    ],
    current: Annotated[
        str, typer.Option(metavar="DATE|…", help="An ingested month. With --source: days like 2026-11-01..2026-11-30")
    ],
    source: SourceUrl = None,
    mapping: MappingFile = None,
    max_rows: MaxRows = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Check that both months, or both periods of a source, have rows, and compare nothing.

    Exit codes: 0 both have rows, 1 one of them has no rows or cannot be read, 2 bad input.
    """
    from drift.sources.arguments import is_days
    from drift.sources.errors import SourceError
    from leeway.store.engine import DatabaseError
    from leeway.store.snapshots import UnknownMonth

    settings = SourceSettings.read(source=source, mapping=mapping, max_rows=max_rows, database_url=database_url)
    if settings.source is None:
        found = _count_customers(settings, [_date(reference), _date(current)])
    else:
        with plain_errors(SourceError):
            periods = [reference] if is_days(reference) else []
        found = _count_rows(settings, settings.source, [*periods, _days(current)])
    with plain_errors(UnknownMonth, DatabaseError, SourceError, code=FAILED):
        for line in found:
            print(line)


@drift.command("worker", short_help="Compare regularly, and serve the reports page.")
def drift_worker(
    interval: Annotated[float | None, setting(DriftSettings, "drift_interval", "--interval")] = None,
    window: Annotated[float | None, setting(DriftSettings, "drift_window", "--window")] = None,
    reports: Annotated[Path | None, setting(DriftSettings, "reports")] = None,
    report: Annotated[bool | None, setting(DriftSettings, "drift_report", "--report/--no-report")] = None,
    port: Annotated[int | None, setting(DriftSettings, "reports_port", "--port")] = None,
    source: SourceUrl = None,
    mapping: MappingFile = None,
    reference: Annotated[str | None, setting(DriftSettings, "reference")] = None,
    max_rows: MaxRows = None,
    by: By = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare the live window with the reference regularly, and serve the reports page, until SIGTERM or Ctrl-C."""
    from leeway.shutdown import defer_stop_signals
    from leeway.telemetry.logs import configure_logging

    settings = DriftSettings.read(
        drift_interval=interval,
        drift_window=window,
        reports=reports,
        drift_report=report,
        reports_port=port,
        source=source,
        mapping=mapping,
        reference=reference,
        max_rows=max_rows,
        by=by,
        bundle=bundle,
        database_url=database_url,
    )
    if settings.source is None:
        _check_served(settings)
    configure_logging()
    defer_stop_signals()
    ignore_invalid_telemetry()
    from drift.__main__ import main

    raise typer.Exit(main(settings))


def _compare(settings: DriftSettings, reference: str, current: str, window: str) -> RunResult:
    """The result of the comparison, or an unknown one with the reason."""
    from drift.__main__ import evidently
    from drift.evaluation import evaluate, unknown_result
    from drift.report.folder import ReportError, replace_file, single_reports
    from drift.sources.errors import SourceError
    from drift.verdicts.confirmation import Policy
    from leeway.model.manifest import BundleError
    from leeway.store.engine import DatabaseError
    from leeway.store.snapshots import UnknownMonth

    policy = Policy(threshold=settings.drift_threshold, min_labels=settings.drift_min_labels).at_once()
    inputs = _choose_inputs(settings, reference, current, window)
    with plain_errors(ReportError, OSError, code=FAILED):
        reports = single_reports(settings.reports, reference, current)
    try:
        with inputs as found:
            evaluation = evaluate(
                found,
                policy,
                min_subjects=settings.drift_min_rows,
                reports=reports,
                make_page=evidently() if settings.drift_report else None,
            )
    except (UnknownMonth, BundleError, DatabaseError, SourceError) as error:
        return unknown_result(str(error), policy)
    except Exception as error:  # noqa: BLE001 (the command's boundary, like the worker's cycle: whatever the data hold)
        return unknown_result(f"the comparison failed: {type(error).__name__}: {error}", policy)
    result, page = evaluation.result, evaluation.page
    if page and result.reports.html and result.reports.json:
        with plain_errors(ReportError, OSError, code=FAILED):
            replace_file(Path(result.reports.html), page.write_html)
            replace_file(Path(result.reports.json), page.write_json)
    return result


def _choose_inputs(
    settings: DriftSettings, reference: str, current: str, window: str
) -> AbstractContextManager[ComparisonInputs]:
    """The inputs that the arguments ask for, still to be read; arguments that are not valid end the command."""
    if settings.source is not None:
        from drift.sources.arguments import LIVE as LIVE_WINDOW

        length = parse_length(window, "--window")
        if current != LIVE_WINDOW:
            _days(current)
        return _of_source(settings, settings.source, reference, current, length)
    if (reference, current) == LIVE:
        _check_served(settings)
        return _served(settings, parse_length(window, "--window"))
    return _months(settings, _date(reference), _date(current))


def _check_served(settings: DriftSettings) -> None:
    """Stop if the served predictions are not in the database."""
    if settings.delta is not None:
        stop(
            f"LEEWAY_LOG={settings.log!r}: the predictions are in Delta tables, not in the database; compare them with"
            f" --source {settings.log} and the mapping in docs/prediction-log.md"
        )


@contextmanager
def _of_source(
    settings: DriftSettings, url: str, reference: str, current: str, window: timedelta
) -> Iterator[ComparisonInputs]:
    """A period of a source against a reference of it."""
    from drift.sources.arguments import ReferenceChoice, current_period
    from drift.sources.mapping import read_mapping
    from drift.sources.opening import opened
    from drift.sources.reading import Limits
    from drift.sources.table import prediction_table
    from drift.sources.window import read_source

    limits = Limits(settings.max_rows, settings.drift_labels)
    with opened(url, timeout_s=settings.source_timeout) as source:
        table = prediction_table(source, read_mapping(settings.mapping))
        compared = ReferenceChoice(reference, settings.bundle, limits, settings.by).load(table)
        yield read_source(table, compared, current_period(current, table, window, datetime.now(UTC)), limits)


@contextmanager
def _served(settings: DriftSettings, window: timedelta) -> Iterator[ComparisonInputs]:
    """The last predictions of that length against the bundle's reference."""
    from drift.inputs import load_active_bundle, read_window
    from leeway.store.engine import opened_engine

    now = datetime.now(UTC)
    with opened_engine(settings.database_url) as engine:
        active = load_active_bundle(settings.bundle, engine)
        yield read_window(active, now - window, now, max_labels=settings.drift_labels)


@contextmanager
def _months(settings: DriftSettings, reference: date, current: date) -> Iterator[ComparisonInputs]:
    """Two ingested months."""
    from cli.snapshots import open_snapshots
    from drift.months import months

    yield months(open_snapshots(settings.database_url), reference, current, _churn_bundle(settings.bundle))


def _churn_bundle(folder: Path) -> Bundle | None:
    """The bundle, if there is one with the churn schema."""
    from leeway.model import bundle as bundles
    from leeway.model.manifest import BundleMissing
    from leeway.schema import CHURN_SCHEMA

    try:
        bundle = bundles.load(folder)
    except BundleMissing:
        return None
    return bundle if bundle.schema.fingerprint == CHURN_SCHEMA.fingerprint else None


def _count_customers(settings: SourceSettings, days: list[date]) -> Iterator[str]:
    """A line for each ingested month."""
    from cli.snapshots import open_snapshots

    snapshots = open_snapshots(settings.database_url)
    for day in days:
        yield f"{day}: {snapshots.count(day):,} customers"


def _count_rows(settings: SourceSettings, url: str, periods: list[str]) -> Iterator[str]:
    """A line for each period of a source."""
    from drift.sources.arguments import days_period
    from drift.sources.checking import count_rows
    from drift.sources.mapping import read_mapping
    from drift.sources.opening import opened
    from drift.sources.table import prediction_table

    with opened(url, timeout_s=settings.source_timeout) as source:
        table = prediction_table(source, read_mapping(settings.mapping))
        for text in periods:
            rows = count_rows(table, days_period(text, table.mapping), settings.max_rows)
            yield f"{text}: {rows:,} rows"


def _days(text: str) -> str:
    """Days like 2026-11-01..2026-11-30, unchanged; any other text ends the command."""
    from drift.sources.arguments import days_period
    from drift.sources.errors import SourceError
    from drift.sources.mapping import Mapping

    with plain_errors(SourceError):
        days_period(text, Mapping())
    return text


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        stop(f"{text!r} is not a date: give two dates like 2024-01-31, or --reference bundle --current live")


def _print(result: RunResult, *, as_json: bool, quiet: bool) -> None:
    import msgspec

    from drift.result import evidently_line, leeway_line

    if as_json:
        print(msgspec.json.encode(result).decode())
        return
    print(evidently_line(result))
    print(leeway_line(result))
    if not quiet and result.features:
        console().print(_features(result))
        for question, verdict in result.verdicts.items():
            print(f"{question}: {verdict.state}. {verdict.evidence}")
        if result.segments:
            for each in result.segments.segments:
                print(f"{result.segments.by} {each.value}: {each.verdict.state}. {each.verdict.evidence}")


def _features(result: RunResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    headings = (
        *("feature", "method", "score", "effective threshold"),
        *("drifted", "constant", "missing", "out of reference"),
    )
    table = Table(*headings, title=Text(result.reason), title_justify="left")
    for each in sorted(result.features, key=lambda each: float("inf") if each.score is None else -each.ratio):
        table.add_row(
            each.feature,
            each.method,
            "n/a" if each.score is None else f"{each.score:.3f}",
            f"{each.threshold:.3f}",
            "[bold red]yes[/]" if each.detected else "no",
            "yes" if each.constant else "no",
            f"{each.missing.reference:.1%} -> {each.missing.current:.1%}",
            f"{each.outside_reference:.1%}",
        )
    return table
