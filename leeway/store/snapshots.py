"""Feature snapshots by month-end: load a month, look up customers, read a whole month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import compress, repeat
from typing import Any

import sqlalchemy as sa

from leeway.schema import FeatureRow, Value
from leeway.store.bulk_insert import insert_rows
from leeway.store.engine import DatabaseError, translated
from leeway.store.erasures import lock_storing, tombstones_among
from leeway.store.tables import Tables, feature_key

READ_ROWS = 10_000


class SnapshotsUnavailable(DatabaseError):
    """Snapshots cannot be read or written now: try again later. `__cause__` is the driver's error."""


class UnknownMonth(LookupError):
    """No snapshots exist for that date; the message lists the dates that exist."""


@dataclass(frozen=True)
class Snapshot:
    """One customer's features as of one day."""

    user_id: str
    as_of: date
    features: FeatureRow


@dataclass(frozen=True)
class Month:
    """All customers of one day, ordered by id. Every list has one entry per customer.

    `labels` are 1 for a customer who left, else 0, or None if the month was loaded without labels.
    """

    as_of: date
    user_ids: list[str]
    columns: dict[str, list[Value]]
    labels: list[int] | None

    def __len__(self) -> int:
        return len(self.user_ids)


class Snapshots:
    """The snapshots of one feature schema. Every method may raise `SnapshotsUnavailable`."""

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self.engine = engine
        self._table, self._label_table = tables.feature_snapshots, tables.snapshot_labels
        self._erasures = tables.erasures
        self._names = tables.schema.names
        self._features = tables.features_of(self._table)
        self._newest = (
            sa.select(self._table.c.as_of, *self._features)
            .where(self._table.c.user_id == sa.bindparam("user_id"))
            .order_by(self._table.c.as_of.desc())
            .limit(1)
        )
        self._newest_of_many = self._query_of_many()
        # On PostgreSQL a lookup without BEGIN and ROLLBACK saves two round trips; SQLite has none.
        self._lookups = (
            engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    def ingest(
        self,
        as_of: date,
        user_ids: Sequence[str],
        columns: Mapping[str, Sequence[Value]],
        labels: Sequence[int] | None,
    ) -> int:
        """Load one month in one transaction, replacing an earlier load of it, and return how many customers it loaded.

        `columns` holds every feature of the schema, with one value per customer; labels are 0 or 1. A customer whose
        data from that day was deleted (`leeway.store.retention.forget`) is left out.

        Raises:
            ValueError: the lengths of columns or labels differ, or a feature is missing or unknown.
        """
        if columns.keys() != set(self._names):
            raise ValueError(f"missing or unknown features: {sorted(columns.keys() ^ set(self._names))}")
        lengths = {len(user_ids), *map(len, columns.values())} | ({len(labels)} if labels is not None else set())
        if len(lengths) > 1:
            raise ValueError(f"customers, columns and labels must have the same length, not {sorted(lengths)}")
        with translated(into=SnapshotsUnavailable), self.engine.begin() as connection:
            lock_storing(connection)
            tombstones = tombstones_among(connection, self._erasures, user_ids)
            kept = [user_id not in tombstones or as_of > tombstones[user_id].through for user_id in user_ids]
            for table in (self._table, self._label_table):
                connection.execute(sa.delete(table).where(table.c.as_of == as_of))
            if labels is not None:
                marks = zip(repeat(as_of), user_ids, labels, strict=False)
                insert_rows(connection, self._label_table, ("as_of", "user_id", "label"), compress(marks, kept))
            keys = ("as_of", "user_id", *map(feature_key, self._names))
            rows = zip(repeat(as_of), user_ids, *map(columns.__getitem__, self._names), strict=False)
            return insert_rows(connection, self._table, keys, compress(rows, kept))

    def lookup(self, user_id: str) -> Snapshot | None:
        """The newest snapshot of a customer, or None if the customer has none."""
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            row = connection.execute(self._newest, {"user_id": user_id}).first()
        return None if row is None else Snapshot(user_id, row[0], tuple(row[1:]))

    def lookup_many(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The newest snapshot of each of these customers who has one, in one query."""
        if len(user_ids) == 1:
            only = self.lookup(user_ids[0])
            return {} if only is None else {only.user_id: only}
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            rows = connection.execute(self._newest_of_many, {"user_ids": list(set(user_ids))}).all()
        return {row[0]: Snapshot(row[0], row[1], tuple(row[2:])) for row in rows}

    def _query_of_many(self) -> sa.Select[Any]:
        """The query of `lookup_many`, built once: that takes ten times as long as to execute it."""
        table = self._table.c
        newest = (
            sa.select(table.user_id, sa.func.max(table.as_of).label("as_of"))
            .where(table.user_id.in_(sa.bindparam("user_ids", expanding=True)))
            .group_by(table.user_id)
            .subquery()
        )
        return sa.select(table.user_id, table.as_of, *self._features).join_from(
            self._table, newest, (table.user_id == newest.c.user_id) & (table.as_of == newest.c.as_of)
        )

    def is_empty(self) -> bool:
        """Whether no month has been loaded yet."""
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            return connection.execute(sa.select(self._table.c.as_of).limit(1)).first() is None

    def dates(self) -> list[date]:
        """The loaded days, oldest first."""
        as_of = self._table.c.as_of
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            return list(connection.scalars(sa.select(as_of).distinct().order_by(as_of)))

    def count(self, as_of: date) -> int:
        """How many customers were loaded of one day.

        Raises:
            UnknownMonth: that day was not loaded.
        """
        query = sa.select(sa.func.count()).select_from(self._table).where(self._table.c.as_of == as_of)
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            customers = int(connection.scalar(query) or 0)
        if not customers:
            raise self._unknown(as_of)
        return customers

    def labels(self, as_of: date) -> dict[str, int]:
        """The labels of one day by customer; empty if the day was loaded without labels."""
        table = self._label_table
        query = sa.select(table.c.user_id, table.c.label).where(table.c.as_of == as_of)
        with translated(into=SnapshotsUnavailable), self._lookups.connect() as connection:
            return {row.user_id: row.label for row in connection.execute(query)}

    def rows(self, as_of: date) -> sa.Select[Any]:
        """The statement that selects the features of all customers of one day, by `leeway.store.tables.feature_key`."""
        return sa.select(*self._features).where(self._table.c.as_of == as_of)

    def parts(self, as_of: date, size: int = READ_ROWS) -> Iterator[Month]:
        """All customers of one day, at most so many at a time.

        Raises:
            UnknownMonth: that day was not loaded.
        """
        own, marks = self._table.c, self._label_table.c
        query = (
            sa.select(own.user_id, marks.label, *self._features)
            .outerjoin_from(self._table, self._label_table, (marks.user_id == own.user_id) & (marks.as_of == own.as_of))
            .where(own.as_of == as_of)
            .order_by(own.user_id)
        )
        is_loaded = False
        with translated(into=SnapshotsUnavailable), self.engine.connect() as connection:
            for part in connection.execution_options(yield_per=size).execute(query).partitions():
                user_ids, labels, *columns = map(list, zip(*part, strict=True))
                features = dict(zip(self._names, columns, strict=True))
                yield Month(as_of, user_ids, features, None if labels[0] is None else labels)
                is_loaded = True
        if not is_loaded:
            raise self._unknown(as_of)

    def read(self, as_of: date) -> Month:
        """All customers of one day at once, as `parts`."""
        parts = list(self.parts(as_of))
        labels = [label for part in parts for label in part.labels or ()]
        columns = {name: [value for part in parts for value in part.columns[name]] for name in self._names}
        return Month(as_of, [user for part in parts for user in part.user_ids], columns, labels or None)

    def _unknown(self, as_of: date) -> UnknownMonth:
        known = ", ".join(day.isoformat() for day in self.dates())
        hint = f"loaded: {known}" if known else "run `leeway ingest` first"
        return UnknownMonth(f"no snapshots as of {as_of.isoformat()}; {hint}")
