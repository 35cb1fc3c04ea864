from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from leeway.store.predictions import PredictionLogError
from leeway.store.rejections import ANY, RejectedItems
from service.core.rejections import RejectionTally, RejectionWriter

NOON = datetime(2024, 3, 1, 12, 0, 5, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Sink:
    """Keeps counts as the table does: the last count of a key wins."""

    def __init__(self, *, unreachable: bool = False) -> None:
        self.unreachable = unreachable
        self.kept: dict[tuple[datetime, str, str], int] = {}

    def write(self, counts: Sequence[RejectedItems]) -> None:
        if self.unreachable:
            raise PredictionLogError("unreachable")
        self.kept |= {(each.minute, each.feature, each.reason): each.items for each in counts}


def test_an_item_counts_once_for_any_number_of_features() -> None:
    """Each feature has its count, and the item one of its own."""
    sink, tally = Sink(), RejectionTally(["skips_7d", "monthly_fee"], Clock())
    tally.add([("skips_7d", "missing"), ("monthly_fee", "out_of_range")])
    tally.flush(sink)
    assert {(feature, reason): items for (_, feature, reason), items in sink.kept.items()} == {
        ("skips_7d", "missing"): 1,
        ("monthly_fee", "out_of_range"): 1,
        (ANY, ANY): 1,
    }


def test_unknown_names_make_no_new_counts() -> None:
    """A thousand unknown features are one count."""
    sink, tally = Sink(), RejectionTally(["skips_7d"], Clock())
    for number in range(1_000):
        tally.add([(f"invented_{number}", "unknown")])
    tally.flush(sink)
    assert {key[1:]: items for key, items in sink.kept.items()} == {(ANY, "unknown"): 1_000, (ANY, ANY): 1_000}


def test_the_current_minute_is_stored_repeatedly() -> None:
    """A flush within a minute loses no count and doubles none."""
    clock, sink = Clock(), Sink()
    tally = RejectionTally([], clock)
    for _ in range(3):
        tally.add([(None, "malformed")])
        tally.flush(sink)
    clock.now += timedelta(minutes=1)
    tally.add([(None, "malformed")])
    tally.flush(sink)
    assert sorted(items for (_, _, reason), items in sink.kept.items() if reason == ANY) == [1, 3]


def test_counts_wait_for_the_database_for_an_hour() -> None:
    """An outage of half an hour loses no count; after an hour the oldest are dropped, so that memory is bounded."""
    clock, sink = Clock(), Sink(unreachable=True)
    tally = RejectionTally([], clock)
    tally.add([(None, "malformed")])
    with pytest.raises(PredictionLogError):
        tally.flush(sink)
    clock.now += timedelta(minutes=30)
    tally.add([(None, "malformed")])
    clock.now += timedelta(minutes=45)
    sink.unreachable = False
    tally.flush(sink)
    assert sink.kept == {
        (NOON.replace(second=0) + timedelta(minutes=30), ANY, "malformed"): 1,
        (NOON.replace(second=0) + timedelta(minutes=30), ANY, ANY): 1,
    }


def test_stopping_flushes_once_more() -> None:
    """Rejections just before the end are stored."""
    sink, tally = Sink(), RejectionTally([], Clock())
    writer = RejectionWriter(tally, sink, interval_s=60)
    writer.start()
    tally.add([(None, "malformed")])
    writer.stop(5)
    assert len(sink.kept) == 2
