"""`leeway train`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli.options import BundleFolder, DatabaseUrl, console, parse_date, plain_errors, stop
from leeway.settings import Settings

EXAMPLES = (
    "leeway train                                # the newest month with labels",
    "leeway train --data any.csv --target left   # any table",
)


def train(
    as_of: Annotated[
        date | None,
        typer.Option("--as-of", parser=parse_date, metavar="DATE", help="Snapshot date; default: the newest labelled"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Train on a CSV or Parquet file instead of snapshots")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="With --data: the column to predict, 0 or 1")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="With --data: the id column, not used as a feature")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name; default: churn, or the file's name")
    ] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Train a model on 70 % of the rows and write its bundle.

    The figures on its card are measured on the other 30 %.
    """
    if data is not None and target is None:
        stop("--data needs --target COLUMN, the column to predict")
    if data is None and (target or id_column):
        stop("--target and --id need --data FILE")
    if data is not None and as_of is not None:
        stop("--as-of selects a month of snapshots and cannot be combined with --data FILE")
    _train(Settings.read(database_url=database_url, bundle=bundle), as_of, data, target, id_column, name)


def _train(
    settings: Settings,
    as_of: date | None,
    data: Path | None,
    target: str | None,
    id_column: str | None,
    name: str | None,
) -> None:
    from cli.snapshots import open_snapshots
    from cli.training import card_table, churn_origin, labelled_month, month_data, schema_table
    from leeway.data.csv_table import TableError
    from leeway.data.tabular import read_table
    from leeway.model.manifest import BundleError
    from leeway.model.training import TrainingError, train
    from leeway.model.writer import Origin
    from leeway.shutdown import interrupt_on_stop_signal
    from leeway.store.engine import DatabaseError
    from leeway.store.snapshots import UnknownMonth

    with plain_errors(DatabaseError, UnknownMonth, TableError, TrainingError, BundleError), interrupt_on_stop_signal():
        if data is not None and target is not None:
            training = read_table(data, target=target, id_column=id_column)
            origin = Origin(name=name or data.stem, target=target, source=data.name)
        else:
            month = labelled_month(open_snapshots(settings.database_url), as_of)
            training, origin = month_data(month), churn_origin(month.as_of, name or "churn")
        bundle = train(training, settings.bundle, origin)
    out = console()
    out.print(schema_table(bundle.schema))
    out.print(card_table(bundle))
    print(f"Bundle: {bundle.folder}")
