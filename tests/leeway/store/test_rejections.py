from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from leeway.store.tables import tables_for

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RejectionLog]:
    """An empty log."""
    engine, tables = open_engine(f"sqlite:///{tmp_path / 'log.db'}"), tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    yield RejectionLog(engine, tables)
    engine.dispose()


def test_counts_add_up_over_minutes_and_processes(log: RejectionLog) -> None:
    """Two processes and two minutes are one sum for each feature and reason."""
    log.write(
        [
            RejectedItems(NOON, "a", "skips_7d", "missing", 2),
            RejectedItems(NOON, "b", "skips_7d", "missing", 3),
            RejectedItems(NOON + MINUTE, "a", "skips_7d", "missing", 5),
            RejectedItems(NOON, "a", ANY, ANY, 2),
        ]
    )
    assert log.between(NOON, NOON + 2 * MINUTE) == {("skips_7d", "missing"): 10, (ANY, ANY): 2}


def test_a_minute_told_again_is_replaced(log: RejectionLog) -> None:
    """A running minute is stored with its count so far, again and again."""
    log.write([RejectedItems(NOON, "a", ANY, ANY, 2)])
    log.write([RejectedItems(NOON, "a", ANY, ANY, 7)])
    assert log.between(NOON, NOON + MINUTE) == {(ANY, ANY): 7}


def test_only_minutes_that_begin_within_are_counted(log: RejectionLog) -> None:
    """The window is half open."""
    log.write([RejectedItems(NOON + number * MINUTE, "a", ANY, ANY, 10**number) for number in range(3)])
    assert log.between(NOON + MINUTE, NOON + 2 * MINUTE) == {(ANY, ANY): 10}
