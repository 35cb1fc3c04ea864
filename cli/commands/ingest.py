"""`leeway ingest`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from cli.options import plain_errors
from leeway.data.csv_table import TableError
from leeway.data.extract import read_extract
from leeway.schema import CHURN_SCHEMA
from leeway.settings import Settings
from leeway.store.engine import DatabaseError, create_tables, open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for


def run_ingest(folder: Path, as_of: date, settings: Settings) -> None:
    """Read the extract, load it in one transaction, and say what was loaded and what was passed over."""
    with plain_errors(TableError, DatabaseError):
        load_extract(folder, as_of, lambda: open_snapshots(settings.database_url))


def load_extract(folder: Path, as_of: date, opened: Callable[[], Snapshots]) -> None:
    """Read one month's extract, then load it into the `opened` snapshots, and print what was loaded.

    Raises:
        TableError: something is wrong with a file; nothing was loaded, and no database asked.
        DatabaseError: the database cannot be used.
    """
    extract = read_extract(folder)
    count = opened().ingest(as_of, extract.user_ids, extract.columns, extract.labels)
    if extract.skipped:
        print(f"Skipped, not features: {', '.join(extract.skipped)}")
    labels = "without labels" if extract.labels is None else f"with {len(extract.labels):,} labels"
    print(f"Loaded {count:,} customers as of {as_of}, {labels}.")


def open_snapshots(database_url: str) -> Snapshots:
    """The churn schema's snapshots, their tables made where they are missing.

    Raises:
        DatabaseError: the database cannot be used; the message names it and says what to do.
    """
    engine, tables = open_engine(database_url), tables_for(CHURN_SCHEMA)
    try:
        create_tables(engine, tables)
    except DatabaseError as error:
        hint = "see that it is there and may be written, or set LEEWAY_DATABASE_URL to another"
        raise DatabaseError(f"{engine.url}: {error}; {hint}") from error
    return Snapshots(engine, tables)
