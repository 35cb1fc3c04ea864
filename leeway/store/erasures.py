"""Tombstones of customers whose data was deleted, so that data from before does not come back.

A tombstone holds the SHA-256 of the customer's id. A prediction that was on its way, or an extract that is loaded
again, is compared with the tombstones in the transaction that would store it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from leeway.store.bulk_insert import upsert_rows
from leeway.store.record import PredictionRecord

LOOKUP_ROWS = 5_000
_LOCK_STORING = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock_shared(5329234)"}
_LOCK_ERASING = {
    "sqlite": ["BEGIN IMMEDIATE"],
    "postgresql": ["SET LOCAL lock_timeout = '1s'", "SELECT pg_advisory_xact_lock(5329234)"],
}
_LOCK_TIMEOUT = "55P03"
"""PostgreSQL's SQLSTATE."""
PAUSE_S = 1.0


class Tombstone(NamedTuple):
    """A customer's data up to `erased_at` (an aware time), and from snapshots up to the day `through`, was deleted."""

    erased_at: datetime
    through: date

    def covers_prediction(self, predicted_at: datetime, as_of: date | None) -> bool:
        """Whether a prediction, made from the snapshot of `as_of`, may no longer be stored."""
        return predicted_at <= self.erased_at or (as_of is not None and as_of <= self.through)


def lock_storing(connection: sa.Connection) -> None:
    """Until the transaction ends, no tombstone appears. It must be the transaction's first statement."""
    connection.exec_driver_sql(_LOCK_STORING[connection.dialect.name])


def tombstones_among(connection: sa.Connection, erasures: sa.Table, user_ids: Iterable[str]) -> dict[str, Tombstone]:
    """The tombstones of these customers, as far as they have one."""
    if connection.scalar(sa.select(erasures.c.user_sha256).limit(1)) is None:  # then there is nothing to hash
        return {}
    by_hash = {_hash(user_id): user_id for user_id in user_ids}
    found, hashes = {}, iter(by_hash)
    while some := list(islice(hashes, LOOKUP_ROWS)):  # databases limit the variables of a statement
        for row in connection.execute(sa.select(erasures).where(erasures.c.user_sha256.in_(some))):
            found[by_hash[row.user_sha256]] = Tombstone(row.erased_at, row.through)
    return found


def erased_among(connection: sa.Connection, erasures: sa.Table, records: Sequence[PredictionRecord]) -> set[str]:
    """The ids of the records whose customer's data was deleted after they were made."""
    user_ids = (record.user_id for record in records if record.user_id is not None)
    tombstones = tombstones_among(connection, erasures, user_ids)
    return {
        record.prediction_id
        for record in records
        if (tombstone := tombstones.get(record.user_id or "")) is not None
        and tombstone.covers_prediction(record.predicted_at, record.as_of)
    }


def add_tombstone(engine: sa.Engine, erasures: sa.Table, user_id: str, tombstone: Tombstone) -> None:
    """Store a customer's tombstone, or move an earlier one forward.

    It waits for the transactions that store data. What they stored is visible once this function has returned. On
    PostgreSQL others that store data queue behind it; so while a long one runs, such as an ingest, it lets them pass
    every second.
    """
    while True:
        try:
            with engine.begin() as connection:
                for statement in _LOCK_ERASING[connection.dialect.name]:
                    connection.exec_driver_sql(statement)
                _put_tombstone(connection, erasures, user_id, tombstone)
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def _put_tombstone(connection: sa.Connection, erasures: sa.Table, user_id: str, tombstone: Tombstone) -> None:
    last = tombstones_among(connection, erasures, [user_id]).get(user_id, tombstone)
    row = {"user_sha256": _hash(user_id), "erased_at": max(last.erased_at, tombstone.erased_at)}
    upsert_rows(connection, erasures, [row | {"through": max(last.through, tombstone.through)}])


def _hash(user_id: str) -> str:
    return sha256(user_id.encode()).hexdigest()
