"""`leeway train`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli import table_options
from cli.options import BundleFolder, DatabaseUrl, console, parse_date, plain_errors, stop
from cli.table_options import number_format, separator_of
from leeway.settings import Settings

if TYPE_CHECKING:
    from leeway.data.cells import NumberFormat
    from leeway.data.tabular import TrainingData
    from leeway.schema import Task

EXAMPLES = (
    "leeway train                                # the newest month with labels",
    "leeway train --data any.csv --target left   # any table",
    "leeway train --data credit.csv --target class --positive bad --id account",
    "leeway train --data flats.csv --target rent --task regression",
)


def _table(flag: str, metavar: str, text: str) -> Any:  # noqa: ANN401 (Typer's own type for options is private)
    """An option that needs --data."""
    return typer.Option(flag, metavar=metavar, help=f"With --data: {text}", show_default=False)


def train(
    as_of: Annotated[
        date | None,
        typer.Option("--as-of", parser=parse_date, metavar="DATE", help="Snapshot date; default: the newest labelled"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Train on a CSV or Parquet file instead of snapshots")
    ] = None,
    target: Annotated[str | None, _table("--target", "COLUMN", "the column to predict")] = None,
    task: Annotated[
        Literal["binary", "multiclass", "regression"] | None,
        _table("--task", "TASK", "binary, multiclass or regression; default: by the target's values"),
    ] = None,
    positive: Annotated[
        str | None, _table("--positive", "CLASS", "the class whose probability is predicted; default: 1, yes or true")
    ] = None,
    ids: Annotated[list[str] | None, _table("--id", "COLUMN", "a column that identifies a row; repeatable")] = None,
    drop: Annotated[list[str] | None, _table("--drop", "COLUMN", "a column to leave out; repeatable")] = None,
    text: Annotated[
        list[str] | None, _table("--text", "COLUMN", "a column to read as text, whatever it looks like; repeatable")
    ] = None,
    missing: Annotated[list[str] | None, _table("--missing", "TEXT", table_options.MISSING)] = None,
    separator: Annotated[str | None, _table("--separator", "SIGN", table_options.SEPARATOR)] = None,
    decimal: Annotated[Literal[".", ","], _table("--decimal", "SIGN", table_options.DECIMAL)] = ".",
    thousands: Annotated[str, _table("--thousands", "SIGN", table_options.THOUSANDS)] = "",
    group_rare: Annotated[
        int | None,
        typer.Option(min=2, metavar="ROWS", help="With --data: group the categories of fewer rows"),
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
    given = {
        "--target": target, "--task": task, "--positive": positive, "--id": ids, "--drop": drop, "--text": text,
        "--missing": missing,
        "--separator": separator, "--decimal": decimal != ".", "--thousands": thousands, "--group-rare": group_rare,
    }  # fmt: skip
    if data is None and (needless := [flag for flag, value in given.items() if value]):
        stop(f"{', '.join(needless)}: only with --data FILE")
    if data is not None and target is None:
        stop("--data needs --target COLUMN, the column to predict")
    if data is not None and as_of is not None:
        stop("--as-of selects a month of snapshots and cannot be combined with --data FILE")
    file = None
    if data is not None and target is not None:
        excluded, words = [*(ids or ()), *(drop or ())], (missing or [], text or [])
        signs = separator_of(separator), number_format(decimal, thousands)
        file = File(data, target, task, positive, excluded, *signs, *words, group_rare)
    _train(Settings.read(database_url=database_url, bundle=bundle), as_of, file, name)


@dataclass(frozen=True)
class File:
    """A table, and how the options say to read it."""

    path: Path
    target: str
    task: Task | None
    positive: str | None
    excluded: list[str]
    separator: str | None
    numbers: NumberFormat
    missing: list[str]
    text: list[str]
    group_rare: int | None

    def read(self) -> TrainingData:
        """Read the table; raises `leeway.data.csv_table.TableError`."""
        from leeway.data.tabular import ReadOptions, read_table
        from leeway.data.text_column import CellOptions

        cells = CellOptions(self.numbers, frozenset(self.missing), frozenset(self.text), self.group_rare)
        options = ReadOptions(tuple(self.excluded), self.separator, self.positive, self.task, cells)
        return read_table(self.path, target=self.target, options=options)


def _train(settings: Settings, as_of: date | None, file: File | None, name: str | None) -> None:
    from leeway.data.csv_table import TableError
    from leeway.shutdown import interrupt_on_stop_signal

    with interrupt_on_stop_signal():
        with plain_errors(TableError):
            training = None if file is None else file.read()
        _fit(settings, as_of, file, training, name)


def _fit(
    settings: Settings, as_of: date | None, file: File | None, training: TrainingData | None, name: str | None
) -> None:
    """Train and bundle. It is called with the table read, because importing scikit-learn takes longer than that."""
    from cli.snapshots import open_snapshots
    from cli.training import card_table, churn_origin, labelled_month, month_data, print_reading, schema_table
    from leeway.model.manifest import BundleError
    from leeway.model.training import TrainingError, train
    from leeway.model.writer import Origin
    from leeway.store.engine import DatabaseError
    from leeway.store.snapshots import UnknownMonth

    with plain_errors(DatabaseError, UnknownMonth, TrainingError, BundleError):
        if file is not None and training is not None:
            print_reading(training)
            origin = Origin(name=name or file.path.stem, target=file.target, source=file.path.name)
        else:
            month = labelled_month(open_snapshots(settings.database_url), as_of)
            training, origin = month_data(month), churn_origin(month.as_of, name or "churn")
        bundle = train(training, settings.bundle, origin, group_rare=file.group_rare if file else None)
    out = console()
    out.print(schema_table(bundle.schema, training.frame))
    out.print(card_table(bundle))
    print(f"Bundle: {bundle.folder}")
