"""`leeway ingest`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DatabaseUrl, parse_date, plain_errors
from leeway.settings import Settings

EXAMPLES = ("leeway ingest --as-of 2024-01-31 extracts/2024-01-31",)


def ingest(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A month-end extract: CSV files")],
    as_of: Annotated[
        date, typer.Option("--as-of", parser=parse_date, metavar="DATE", help="The extract's date: YYYY-MM-DD")
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Load a month-end extract as feature snapshots and labels.

    Loading the same month again replaces it.
    """
    from cli.snapshots import load_extract, open_snapshots
    from leeway.data.csv_table import TableError
    from leeway.store.engine import DatabaseError

    settings = Settings.read(database_url=database_url)
    with plain_errors(TableError, DatabaseError):
        load_extract(folder, as_of, lambda: open_snapshots(settings.database_url))
