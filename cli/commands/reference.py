"""`leeway reference make`: keep a period of a source as the reference of later runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.drift import By, MappingFile, MaxRows, SourceUrl
from cli.commands.source import required
from cli.options import FAILED, HELP, examples, plain_errors, stop
from leeway.settings import DriftSettings

reference = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Keep a period of a source as a reference.",
    help="Keep a period of a source as the reference of later drift runs.",
)


@reference.callback()
def reference_group() -> None:
    """Keep a period of a source as the reference of later drift runs."""


@reference.command(
    "make",
    short_help="Write a reference into a new folder.",
    epilog=examples("leeway reference make --source scored/ --period 2026-10-01 --out reference/"),
)
def make(
    period: Annotated[str, typer.Option(metavar="DAYS", help="Whole days, like 2026-10-01..2026-10-31")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder")],
    source: SourceUrl = None,
    mapping: MappingFile = None,
    max_rows: MaxRows = None,
    by: By = None,
) -> None:
    """Write a period of a source into a new folder: values, schema, methods, thresholds and noise constants.

    `leeway drift run --reference FOLDER` and the worker compare with it, also when the period is gone from the source.
    Exit codes: 0 done, 1 the source cannot be read, 2 bad input.
    """
    from drift.sources.arguments import days_period
    from drift.sources.errors import SourceError
    from drift.sources.mapping import read_mapping
    from drift.sources.opening import opened
    from drift.sources.reading import Limits
    from drift.sources.reference import keep_reference, reference_of
    from drift.sources.table import prediction_table

    settings = DriftSettings.read(source=source, mapping=mapping, max_rows=max_rows, by=by)
    if out.exists():
        stop(f"{out} exists: remove it first, or choose another --out")
    url = required(settings.source)
    with plain_errors(SourceError):
        found = read_mapping(settings.mapping)
        days = days_period(period, found)
    with (
        plain_errors(SourceError, OSError, code=FAILED),
        opened(url, timeout_s=settings.source_timeout) as found_source,
    ):
        table = prediction_table(found_source, found)
        made = reference_of(table, days, Limits(settings.max_rows, settings.drift_labels), by=settings.by)
        keep_reference(made, out)
    kept = made.reference.rows
    sampled = "" if kept == made.window.subjects else f" (an even sample of {kept:,} is kept)"
    print(
        f"wrote {out}: {made.window.subjects:,} subjects{sampled}, {len(made.schema)} features, model {made.model.name}"
    )
