"""A small table to write to: labels of customers on one day."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.tables import tables_for

TABLES = tables_for(CHURN_SCHEMA)
LABELS = TABLES.snapshot_labels
DAY = date(2026, 1, 31)


KEYS = ("label", "user_id", "as_of")
"""Not the order of the table's columns."""


def rows(count: int, label: int | None = 0) -> list[tuple[int | None, str, date]]:
    """Labels of `count` customers, in the order of `KEYS`."""
    return [(label, f"u{each}", DAY) for each in range(count)]


def held(engine: sa.Engine) -> list[tuple[str, int]]:
    """What is in the table."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(LABELS.c.user_id, LABELS.c.label).order_by(LABELS.c.user_id))
        return [(row[0], row[1]) for row in found]
