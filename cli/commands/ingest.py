"""`leeway ingest`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import table_options
from cli.options import DatabaseUrl, parse_date, plain_errors
from cli.table_options import number_format, separator_of
from leeway.settings import Settings

EXAMPLES = (
    "leeway ingest --as-of 2024-01-31 extracts/2024-01-31",
    "leeway ingest --as-of 2024-01-31 untidy --decimal , --missing '?'",
)


def _help(text: str) -> str:
    return text[0].upper() + text[1:]


def ingest(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A month-end extract: CSV files")],
    as_of: Annotated[
        date, typer.Option("--as-of", parser=parse_date, metavar="DATE", help="The extract's date: YYYY-MM-DD")
    ],
    missing: Annotated[
        list[str] | None, typer.Option("--missing", metavar="TEXT", help=_help(table_options.MISSING))
    ] = None,
    separator: Annotated[str | None, typer.Option(metavar="SIGN", help=_help(table_options.SEPARATOR))] = None,
    decimal: Annotated[
        Literal[".", ","], typer.Option(metavar="SIGN", help=_help(table_options.DECIMAL), show_default=False)
    ] = ".",
    thousands: Annotated[str, typer.Option(metavar="SIGN", help=_help(table_options.THOUSANDS))] = "",
    database_url: DatabaseUrl = None,
) -> None:
    """Load a month-end extract as feature snapshots and labels.

    Loading the same month again replaces it. Cells are read as `leeway train --data` reads them.
    """
    from cli.snapshots import load_extract, open_snapshots
    from leeway.data.csv_table import TableError
    from leeway.data.extract import ExtractFormat
    from leeway.data.text_column import CellOptions
    from leeway.store.engine import DatabaseError

    cells = CellOptions(number_format(decimal, thousands), frozenset(missing or ()))
    written = ExtractFormat(separator_of(separator), cells)
    settings = Settings.read(database_url=database_url)
    with plain_errors(TableError, DatabaseError):
        load_extract(folder, as_of, lambda: open_snapshots(settings.database_url), written)
