"""Rejected items, counted by minute. The drift worker needs them to judge the quality of the input.

Counts bypass the spool and go straight to the database. One that cannot be stored within an hour is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from leeway.store.bulk_insert import upsert_rows
from leeway.store.engine import translated
from leeway.store.predictions import PredictionLogError
from leeway.store.tables import Tables, utc

ANY = ""
"""No particular feature. Under (`ANY`, `ANY`) each rejected item counts once."""


@dataclass(frozen=True)
class RejectedItems:
    """How many items one process rejected in one minute (an aware time), for one feature and reason.

    An item rejected for two features counts under both, and once under (`ANY`, `ANY`).
    """

    minute: datetime
    process: str
    feature: str
    reason: str
    items: int


class RejectionLog:
    """The counts of one feature schema."""

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._table = tables.rejections

    def write(self, counts: Sequence[RejectedItems]) -> None:
        """Store counts, replacing earlier ones of the same minute, process, feature and reason.

        Raises:
            leeway.store.predictions.PredictionLogError: the database is unreachable.
        """
        with translated(into=PredictionLogError), self._engine.begin() as connection:
            upsert_rows(connection, self._table, [asdict(each) for each in counts])

    def between(self, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
        """Sum items by (feature, reason) over all processes and over the minutes that begin in [start, end).

        Raises:
            ValueError: a time is naive.
            leeway.store.predictions.PredictionLogError: the database is unreachable.
        """
        table = self._table.c
        query = (
            sa.select(table.feature, table.reason, sa.func.sum(table["items"]))
            .where(table.minute >= utc(start), table.minute < utc(end))
            .group_by(table.feature, table.reason)
        )
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            return {(feature, reason): int(items) for feature, reason, items in connection.execute(query)}
