from __future__ import annotations

from datetime import timedelta

import pytest

from drift.report.page.axis import TimeAxis, value_axis
from tests.drift.documents import NOON
from tests.drift.report.page.drawn import HOUR


def test_short_axes_tell_seconds() -> None:
    """On an axis of minutes a point's time is said to the second, on a longer one to the minute."""
    assert TimeAxis(NOON, NOON + timedelta(seconds=50)).say(NOON + timedelta(seconds=7)) == "12:00:07 UTC"
    assert HOUR.say(NOON + timedelta(seconds=7)) == "1 Mar 2026, 12:00 UTC"


@pytest.mark.parametrize("span_s", [0, 1, 40, 900, 6_400, 86_400, 800_000, 40_000_000, 2_000_000_000])
def test_time_ticks_are_few_and_inside(span_s: float) -> None:
    """Whatever the span, there are at most seven labels, all on the axis and in order."""
    places = [tick.place for tick in TimeAxis(NOON, NOON + timedelta(seconds=span_s)).ticks()]
    assert len(places) <= 7
    assert places == sorted(places)


@pytest.mark.parametrize("highest", [1e-9, 0.003, 0.07, 0.3, 1.0, 4.6, 950.0, 1e12])
def test_value_axis_has_room_and_round_steps(highest: float) -> None:
    """The highest value is inside, uses at least half of the height, and there are three to seven labels."""
    axis = value_axis([highest], str)
    assert highest < axis.top <= 2 * highest
    assert 3 <= len(axis.ticks()) <= 7
