"""Month-end extracts and the feature snapshots they become, for the commands that load or read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from leeway.data.csv_table import TableError
from leeway.data.extract import ExtractFormat, read_extract
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import DatabaseError, create_tables, open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for


def open_snapshots(database_url: str) -> Snapshots:
    """The snapshots of the churn schema; missing tables are created.

    Raises:
        DatabaseError: the database cannot be used; the message names it and says what to do.
    """
    engine, tables = open_engine(database_url), tables_for(CHURN_SCHEMA)
    try:
        create_tables(engine, tables)
    except DatabaseError as error:
        hint = "check that it exists and can be written, or set LEEWAY_DATABASE_URL to another database"
        raise DatabaseError(f"{engine.url}: {error}; {hint}") from error
    return Snapshots(engine, tables)


def load_extract(
    folder: Path,
    as_of: date,
    opened: Callable[[], Snapshots],
    written: ExtractFormat | None = None,
) -> None:
    """Read one month's extract, load it into the `opened` snapshots, and print what was loaded.

    Raises:
        TableError: a file is invalid; nothing was loaded, and the database was not opened.
        DatabaseError: the database cannot be used.
    """
    extract = read_extract(folder, written or ExtractFormat())
    count = opened().ingest(as_of, extract.user_ids, extract.columns, extract.labels)
    if extract.separators:
        print(f"Note: the separator is {' or '.join(map(repr, extract.separators))}.")
    if extract.skipped:
        print(f"Skipped, not features: {', '.join(extract.skipped)}")
    labels = "without labels" if extract.labels is None else f"with {len(extract.labels):,} labels"
    print(f"Loaded {count:,} customers as of {as_of}, {labels}.")


def months(folder: Path) -> dict[date, Path]:
    """The extracts in `folder`, one subfolder a month, named by its date; oldest first.

    Raises:
        TableError: there are none, or a subfolder's name is not a date.
    """
    found: dict[date, Path] = {}
    for each in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
        try:
            found[date.fromisoformat(each.name)] = each
        except ValueError as error:
            raise TableError("name each month's folder by its date, like 2024-01-31", file=str(each)) from error
    if not found:
        raise TableError("contains no months: LEEWAY_EXTRACT needs subfolders named like 2024-01-31", file=str(folder))
    return found
