"""Compacts the Delta tables of the prediction log, and deletes what is old or a customer's, while others use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from leeway.store.delta import LABELLED_ON, delta_errors, open_table, storage_options, uri_of
from leeway.store.predictions import PredictionLogError
from leeway.store.retention import delete_labels
from leeway.store.tables import PREDICTED_ON, utc

if TYPE_CHECKING:
    import sqlalchemy as sa
    from deltalake import DeltaTable

_T = TypeVar("_T")
ATTEMPTS: Final = 5
"""A change fails if another one, of the same files, was faster."""
MOST_IDS: Final = 1_000


def compact(location: str, suffixes: Iterable[str]) -> Counter[str]:
    """Replace the many small files of each day by few large ones; return how many files were replaced, and by how many.

    Files that no version of the last seven days needs are deleted: a reader that has just listed them can go on.

    Raises:
        PredictionLogError: a table is unreachable, or is changed by others all the time.
    """
    files = Counter[str]()
    for name, _ in _tables(suffixes):
        for table in _existing(location, name):
            found = _retried(table, lambda current: current.optimize.compact())
            files["replaced"] += found["numFilesRemoved"]
            files["new"] += found["numFilesAdded"]
            with delta_errors(table.table_uri):
                files["deleted"] += len(_vacuum(table))
                table.create_checkpoint()
                table.cleanup_metadata()
    return files


def prune(location: str, suffixes: Iterable[str], before: datetime, *, is_dry_run: bool = False) -> Counter[str]:
    """Delete the predictions of the days before that of a time, and labels that arrived on such days; return how many.

    Whole days are deleted, so no file has to be written again. A dry run only counts.

    Raises:
        ValueError: the time is naive.
        PredictionLogError: a table is unreachable, or is changed by others all the time.
    """
    day, deleted = utc(before).date(), Counter[str]()
    for name, partition in _tables(suffixes):
        for table in _existing(location, name):
            old = f"{partition} < '{day}'"
            count = _count(table, old)
            deleted["predictions" if partition == PREDICTED_ON else "labels"] += count
            if is_dry_run:
                continue
            if count:
                _retried(table, _deletion(old))
            with delta_errors(table.table_uri):
                _vacuum(table)
    return deleted


def prediction_times(location: str, suffixes: Iterable[str], user_id: str) -> list[datetime]:
    """When a customer's predictions were made.

    Raises:
        PredictionLogError: a table is unreachable.
    """
    where = _is_customer(user_id)
    return [
        row[0]
        for suffix in suffixes
        for table in _existing(location, f"predictions{suffix}")
        for row in _read(table, f"SELECT predicted_at FROM found WHERE {where}")  # noqa: S608 (quoted)
    ]


def forget(
    location: str, engine: sa.Engine, suffixes: Iterable[str], user_id: str, *, is_dry_run: bool = False
) -> Counter[str]:
    """Delete a customer's predictions and their labels, also labels that still wait in the database; return how many.

    Store the customer's tombstone first, so that nothing from before is stored again. The files that held them are
    deleted at once, also those that only earlier versions need: a drift run in progress may fail. A dry run only
    counts.

    Raises:
        DatabaseError: the database is unreachable, or a table is, or it is changed by others all the time.
    """
    deleted, where = Counter[str](), _is_customer(user_id)
    for suffix in suffixes:
        for table in _existing(location, f"predictions{suffix}"):
            ids = [row[0] for row in _read(table, f"SELECT prediction_id FROM found WHERE {where}")]  # noqa: S608 (quoted)
            # Predictions go last, because a repeated call finds labels by their ids.
            deleted["labels"] += delete_labels(engine, suffix, ids, is_dry_run=is_dry_run)
            for labels in _existing(location, f"prediction_labels{suffix}"):
                deleted["labels"] += _delete(labels, ids, is_dry_run=is_dry_run)
            deleted["predictions"] += _delete(table, ids, is_dry_run=is_dry_run)
    return deleted


def _delete(table: DeltaTable, ids: Iterable[str], *, is_dry_run: bool) -> int:
    """Delete rows by their ids, also from the disk; return how many.

    The condition stays in the table's log for a week, so it must not name the customer.
    """
    count = 0
    for condition in _conditions(ids):
        found = _count(table, condition)
        if found and not is_dry_run:
            _retried(table, _deletion(condition))
        count += found
    if not is_dry_run:
        with delta_errors(table.table_uri):
            # Not `full`, which would also delete the files that others are writing now.
            table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    return count


def _tables(suffixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names of the tables, and the columns that they are partitioned by."""
    for suffix in suffixes:
        yield f"predictions{suffix}", PREDICTED_ON
        yield f"prediction_labels{suffix}", LABELLED_ON


def _existing(location: str, name: str) -> Iterator[DeltaTable]:
    """The table, if there is one."""
    uri = uri_of(location, name)
    with delta_errors(uri):
        from deltalake import DeltaTable  # noqa: PLC0415 (optional)

        if not DeltaTable.is_deltatable(uri, storage_options=storage_options(uri)):
            return
        table = open_table(uri)
    yield table


def _read(table: DeltaTable, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query selects from the table, which is called `found` there."""
    with delta_errors(table.table_uri):
        from deltalake import QueryBuilder  # noqa: PLC0415 (optional)

        found = QueryBuilder().register("found", table).execute(query).read_all()
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _count(table: DeltaTable, condition: str) -> int:
    """How many rows meet the condition; the engine counts, because there may be millions."""
    ((count,),) = _read(table, f"SELECT count(*) FROM found WHERE {condition}")  # noqa: S608 (quoted by the callers)
    return int(count)


def _retried(table: DeltaTable, change: Callable[[DeltaTable], _T]) -> _T:
    """Make a change again, on the table as it is then, if another process's change was faster."""
    with delta_errors(table.table_uri):
        from deltalake.exceptions import CommitFailedError  # noqa: PLC0415 (optional)

        for _ in range(ATTEMPTS):
            table.update_incremental()
            try:
                return change(table)
            except CommitFailedError:
                continue
    raise PredictionLogError(f"Delta table {table.table_uri}: other processes change it all the time; try again later")


def _deletion(condition: str) -> Callable[[DeltaTable], object]:
    return lambda table: table.delete(condition)


def _vacuum(table: DeltaTable) -> list[str]:
    """Delete the files that no version of the last days needs, and those that killed writers left behind."""
    table.update_incremental()
    return table.vacuum(dry_run=False, full=True)


def _is_customer(user_id: str) -> str:
    return f"user_id = {_quoted(user_id)}"


def _conditions(ids: Iterable[str]) -> Iterator[str]:
    left = iter(ids)
    while some := list(islice(left, MOST_IDS)):
        yield f"prediction_id IN ({', '.join(map(_quoted, some))})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
