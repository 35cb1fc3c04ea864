"""Deletes what is older than a time, or all data of a customer, for all feature schemas of a database.

It works in small transactions. A run that is interrupted has deleted a part; the next one continues.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, translated
from leeway.store.erasures import Tombstone, add_tombstone
from leeway.store.tables import UtcDateTime, tables_for, utc

BATCH_ROWS = 1_000
KINDS = ("predictions", "labels", "rejection counts", "drift runs")
"""What `prune` deletes and counts."""
CUSTOMER_KINDS = ("predictions", "labels", "snapshots")
"""What `forget` deletes and counts. Labels are those of predictions and those of snapshots."""

_TYPES: dict[str, Any] = {
    "predicted_at": UtcDateTime,
    "labelled_at": UtcDateTime,
    "minute": UtcDateTime,
    "as_of": sa.Date,
}


def prune(engine: sa.Engine, before: datetime, *, is_dry_run: bool = False) -> Counter[str]:
    """Delete predictions, labels, rejection counts and drift runs from before a time; return how many of each.

    The labels of a deleted prediction go with it. Snapshots stay, the service needs them. The last run of each model
    stays, and its last run with a result: the drift worker continues from them. The time is stored, because it is then
    unknown whom older reports show. A dry run only counts.

    Raises:
        ValueError: the time is naive.
        DatabaseError: the database is unreachable; what was deleted before stays deleted.
    """
    moment, deleted = utc(before), Counter[str]()
    with translated():
        schemas = [_Schema(engine, suffix, moment) for suffix in schema_suffixes(engine)]
        if not is_dry_run and any(schema.has_old_predictions() for schema in schemas):
            note_pruning(engine, moment)
        for schema in schemas:
            deleted += schema.prune(is_dry_run=is_dry_run)
        if sa.inspect(engine).has_table("drift_runs"):
            deleted["drift runs"] += _prune_runs(engine, moment, is_dry_run=is_dry_run)
    return deleted


def note_pruning(engine: sa.Engine, before: datetime) -> None:
    """Store the time, of which only the latest matters.

    Raises:
        DatabaseError: the database is unreachable.
    """
    tables = tables_for(CHURN_SCHEMA)
    create_tables(engine, tables, only=[tables.prunings])
    prunings = tables.prunings
    # It writes first: SQLite does not wait for a lock after a transaction has read.
    with translated(), engine.begin() as connection:
        connection.execute(sa.delete(prunings).where(prunings.c.pruned_before < before))
        if connection.scalar(sa.select(prunings.c.pruned_before).limit(1)) is None:
            connection.execute(sa.insert(prunings), {"pruned_before": before})


class CustomerTimes(NamedTuple):
    """When a customer's predictions were made, and the days of the customer's snapshots."""

    predicted_at: list[datetime]
    as_of: list[date]
    pruned_before: datetime | None
    """Predictions from before this time were pruned, so it is unknown which were the customer's; None if none were."""


def customer_times(engine: sa.Engine, user_id: str) -> CustomerTimes:
    """The times of what the database has of a customer.

    Raises:
        DatabaseError: the database is unreachable.
    """
    with translated():
        times = CustomerTimes([], [], _pruned_before(engine))
        for suffix in schema_suffixes(engine):
            customer = _Customer(engine, suffix, user_id)
            with engine.connect() as connection:
                times.predicted_at.extend(connection.scalars(customer.times()))
                times.as_of.extend(connection.scalars(customer.days()))
    return times


def forget(engine: sa.Engine, user_id: str, *, is_dry_run: bool = False) -> Counter[str]:
    """Delete a customer's predictions, snapshots and the labels of both; return how many of each.

    It leaves a tombstone (`leeway.store.erasures`) first, so nothing from before this call is stored again. A dry run
    only counts.

    Raises:
        DatabaseError: the database is unreachable; what was deleted before stays deleted.
    """
    deleted = Counter[str]()
    with translated():
        if not is_dry_run:
            _bury(engine, user_id)
        for suffix in schema_suffixes(engine):
            customer = _Customer(engine, suffix, user_id)
            deleted += customer.count() if is_dry_run else customer.delete()
    return deleted


def delete_labels(engine: sa.Engine, suffix: str, prediction_ids: Sequence[str], *, is_dry_run: bool = False) -> int:
    """Delete the labels of predictions of one schema, by their ids; return how many. A dry run only counts.

    It waits for labels that are on their way to a Delta table: afterwards they are there.

    Raises:
        DatabaseError: the database is unreachable; what was deleted before stays deleted.
    """
    labels, count = _table(f"prediction_labels{suffix}", "prediction_id"), 0
    with translated():
        for start in range(0, len(prediction_ids), BATCH_ROWS):
            chosen = labels.c.prediction_id.in_(prediction_ids[start : start + BATCH_ROWS])
            if is_dry_run:
                count += _count(engine, sa.select(labels.c.prediction_id).where(chosen))
            else:
                with engine.begin() as connection:
                    count += _delete(connection, labels, chosen)
    return count


def empty_write_ahead_log(engine: sa.Engine) -> bool:
    """Move SQLite's write-ahead log, where deleted rows still are, into its file, where they are overwritten.

    Returns False if another process is still reading what the log holds: try again later.

    Raises:
        DatabaseError: the database is unreachable.
    """
    if engine.dialect.name != "sqlite":
        return True
    with translated(), engine.connect() as connection:
        is_busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not is_busy


def _bury(engine: sa.Engine, user_id: str) -> None:
    """Store the tombstone; its day is that of the last snapshot if that is later than today."""
    tables, now = tables_for(CHURN_SCHEMA), datetime.now(UTC)
    create_tables(engine, tables, only=[tables.erasures])
    through = max([now.date(), *customer_times(engine, user_id).as_of])
    add_tombstone(engine, tables.erasures, user_id, Tombstone(now, through))


def _pruned_before(engine: sa.Engine) -> datetime | None:
    prunings = tables_for(CHURN_SCHEMA).prunings
    if not sa.inspect(engine).has_table(prunings.name):
        return None
    with engine.connect() as connection:
        found: datetime | None = connection.scalar(sa.select(sa.func.max(prunings.c.pruned_before)))
    return found


def schema_suffixes(engine: sa.Engine) -> list[str]:
    """What the names of each schema's tables end with.

    Raises:
        DatabaseError: the database is unreachable.
    """
    with translated():
        names = sa.inspect(engine).get_table_names()
    return [found[1] or "" for name in names if (found := re.fullmatch(r"predictions(_[0-9a-f]+)?", name))]


class _Customer:
    """The rows of a customer in the tables of one feature schema."""

    def __init__(self, engine: sa.Engine, suffix: str, user_id: str) -> None:
        self._engine, self._user_id = engine, user_id
        self._predictions = _table(f"predictions{suffix}", "prediction_id", "predicted_at", "user_id")
        self._labels = _table(f"prediction_labels{suffix}", "prediction_id", "labelled_at")
        self._snapshots = _table(f"feature_snapshots{suffix}", "user_id", "as_of")
        self._snapshot_labels = _table(f"snapshot_labels{suffix}", "user_id", "as_of")

    def times(self) -> sa.Select[Any]:
        """When the predictions were made."""
        return sa.select(self._predictions.c.predicted_at).where(self._predictions.c.user_id == self._user_id)

    def days(self) -> sa.Select[Any]:
        """The days of the snapshots."""
        return sa.select(self._snapshots.c.as_of).where(self._snapshots.c.user_id == self._user_id)

    def count(self) -> Counter[str]:
        """How many rows of each kind exist."""
        labels = self._labels.c
        of_predictions = sa.select(labels.prediction_id).where(labels.prediction_id.in_(self._ids()))
        marks = self._snapshot_labels.c
        of_snapshots = sa.select(marks.as_of).where(marks.user_id == self._user_id)
        return Counter({
            "predictions": _count(self._engine, self._ids()),
            "labels": _count(self._engine, of_predictions) + _count(self._engine, of_snapshots),
            "snapshots": _count(self._engine, self.days()),
        })  # fmt: skip

    def delete(self) -> Counter[str]:
        """Delete them; return how many of each kind."""
        deleted = Counter[str]()
        with self._engine.begin() as connection:  # first: no prediction can be made from them any more
            for table, kind in ((self._snapshots, "snapshots"), (self._snapshot_labels, "labels")):
                deleted[kind] += _delete(connection, table, table.c.user_id == self._user_id)
        for ids in _batches(self._engine, self._ids()):
            with self._engine.begin() as connection:
                for table, kind in ((self._labels, "labels"), (self._predictions, "predictions")):
                    deleted[kind] += _delete(connection, table, table.c.prediction_id.in_(ids))
        return deleted

    def _ids(self) -> sa.Select[Any]:
        return sa.select(self._predictions.c.prediction_id).where(self._predictions.c.user_id == self._user_id)


class _Schema:
    """The tables of one feature schema, of which only these columns matter."""

    def __init__(self, engine: sa.Engine, suffix: str, before: datetime) -> None:
        self._engine, self._before = engine, before
        self._predictions = _table(f"predictions{suffix}", "prediction_id", "predicted_at")
        self._labels = _table(f"prediction_labels{suffix}", "prediction_id", "labelled_at")
        self._rejections = _table(f"rejections{suffix}", "items", "minute")

    def has_old_predictions(self) -> bool:
        """Whether any prediction is to be deleted."""
        with self._engine.connect() as connection:
            return connection.scalar(self._old().limit(1)) is not None

    def prune(self, *, is_dry_run: bool) -> Counter[str]:
        """Delete or count; see `prune`."""
        old, orphans = self._old(), self._orphans()
        if is_dry_run:
            return Counter({
                "predictions": _count(self._engine, old),
                "labels": _count(self._engine, orphans) + _count(self._engine, self._labels_of(old)),
                "rejection counts": _count(self._engine, self._old_rejections()),
            })  # fmt: skip
        deleted = Counter[str]()
        for ids in _batches(self._engine, old.order_by(self._predictions.c.predicted_at)):
            with self._engine.begin() as connection:
                deleted["labels"] += _delete(connection, self._labels, self._labels.c.prediction_id.in_(ids))
                deleted["predictions"] += _delete(
                    connection, self._predictions, self._predictions.c.prediction_id.in_(ids)
                )
        for ids in _batches(self._engine, orphans):
            with self._engine.begin() as connection:
                deleted["labels"] += _delete(connection, self._labels, self._labels.c.prediction_id.in_(ids))
        for end in self._days():
            with self._engine.begin() as connection:
                deleted["rejection counts"] += _delete(connection, self._rejections, self._rejections.c.minute < end)
        return deleted

    def _old(self) -> sa.Select[Any]:
        made = self._predictions.c
        return sa.select(made.prediction_id).where(made.predicted_at < self._before)

    def _labels_of(self, predictions: sa.Select[Any]) -> sa.Select[Any]:
        labels = self._labels.c
        return sa.select(labels.prediction_id).where(labels.prediction_id.in_(predictions))

    def _orphans(self) -> sa.Select[Any]:
        """Labels whose prediction never arrived."""
        made, labels = self._predictions.c, self._labels.c
        has_prediction = sa.exists().where(made.prediction_id == labels.prediction_id)
        return sa.select(labels.prediction_id).where(labels.labelled_at < self._before, ~has_prediction)

    def _old_rejections(self) -> sa.Select[Any]:
        return sa.select(self._rejections.c.minute).where(self._rejections.c.minute < self._before)

    def _days(self) -> Iterator[datetime]:
        """Ends of days from the oldest count on, so that no transaction deletes more than a day."""
        with self._engine.connect() as connection:
            oldest = connection.scalar(sa.select(sa.func.min(self._rejections.c.minute)))
        while oldest is not None and oldest < self._before:
            oldest += timedelta(days=1)
            yield min(oldest, self._before)


def _prune_runs(engine: sa.Engine, before: datetime, *, is_dry_run: bool) -> int:
    runs = tables_for(CHURN_SCHEMA).drift_runs
    newest = (
        sa.select(sa.func.max(runs.c.finished_at)).where(*conditions).group_by(runs.c.model_name)
        for conditions in ((), (runs.c.share.is_not(None),))
    )
    kept = sa.union(*newest).subquery()
    old = sa.select(runs.c.run_id).where(runs.c.finished_at < before, runs.c.finished_at.not_in(sa.select(kept)))
    if is_dry_run:
        return _count(engine, old)
    deleted = 0
    for ids in _batches(engine, old.order_by(runs.c.finished_at)):
        with engine.begin() as connection:
            deleted += _delete(connection, runs, runs.c.run_id.in_(ids))
    return deleted


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(each, _TYPES.get(each)) for each in columns))


def _batches(engine: sa.Engine, query: sa.Select[Any]) -> Iterator[list[Any]]:
    """The ids that a query selects, in batches, for as long as the caller deletes them."""
    while True:
        with engine.connect() as connection:
            ids = list(connection.scalars(query.limit(BATCH_ROWS)))
        if not ids:
            return
        yield ids


def _count(engine: sa.Engine, query: sa.Select[Any]) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0)


def _delete(connection: sa.Connection, table: sa.TableClause, condition: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.delete(table).where(condition)).rowcount
