from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from leeway.store.tables import Tables
from tests.leeway.store.records import NOON

MINUTE = timedelta(minutes=1)


@pytest.fixture
def rejections(engine: sa.Engine, tables: Tables) -> RejectionLog:
    """An empty log."""
    return RejectionLog(engine, tables)


def test_counts_add_up_over_minutes_and_processes(rejections: RejectionLog) -> None:
    """Two processes and two minutes are one sum for each feature and reason."""
    rejections.write(
        [
            RejectedItems(NOON, "a", "skips_7d", "missing", 2),
            RejectedItems(NOON, "b", "skips_7d", "missing", 3),
            RejectedItems(NOON + MINUTE, "a", "skips_7d", "missing", 5),
            RejectedItems(NOON, "a", ANY, ANY, 2),
        ]
    )
    assert rejections.between(NOON, NOON + 2 * MINUTE) == {("skips_7d", "missing"): 10, (ANY, ANY): 2}


def test_a_later_count_of_a_minute_replaces_the_earlier(rejections: RejectionLog) -> None:
    """The current minute is stored repeatedly, each time with its count so far."""
    rejections.write([RejectedItems(NOON, "a", ANY, ANY, 2)])
    rejections.write([RejectedItems(NOON, "a", ANY, ANY, 7)])
    assert rejections.between(NOON, NOON + MINUTE) == {(ANY, ANY): 7}


def test_the_window_is_half_open(rejections: RejectionLog) -> None:
    """Only minutes that begin in [start, end) count."""
    rejections.write([RejectedItems(NOON + number * MINUTE, "a", ANY, ANY, 10**number) for number in range(3)])
    assert rejections.between(NOON + MINUTE, NOON + 2 * MINUTE) == {(ANY, ANY): 10}
