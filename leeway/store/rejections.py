"""What was refused, in counts by minute: the drift worker judges the quality of input by what never became a row.

A count is no answered prediction: it goes straight to the database, and one that cannot get there in an hour is
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from leeway.store.bulk_insert import upsert_rows
from leeway.store.predictions import translated_errors
from leeway.store.tables import Tables, utc

ANY = ""
"""Stands for no feature in particular; with the reason `ANY` too the count is of items, each counted once."""


@dataclass(frozen=True)
class RejectedItems:
    """How many items one process refused in one minute (an aware time), for one feature's sake and one reason.

    An item refused for two features counts under both, and once under (`ANY`, `ANY`).
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
        """Store counts; of the same minute, process, feature and reason the last one holds.

        Raises:
            leeway.store.predictions.PredictionLogError: the database cannot be reached now.
        """
        with translated_errors(), self._engine.begin() as connection:
            upsert_rows(connection, self._table, [asdict(each) for each in counts])

    def between(self, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
        """Items by (feature, reason), summed over the minutes that begin in [start, end) and over all processes.

        Raises:
            ValueError: a time is naive.
            leeway.store.predictions.PredictionLogError: the database cannot be reached now.
        """
        table = self._table.c
        query = (
            sa.select(table.feature, table.reason, sa.func.sum(table["items"]))
            .where(table.minute >= utc(start), table.minute < utc(end))
            .group_by(table.feature, table.reason)
        )
        with translated_errors(), self._engine.connect() as connection:
            return {(feature, reason): int(items) for feature, reason, items in connection.execute(query)}
