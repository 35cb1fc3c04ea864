"""Positions of values and times on a chart's axes, and round tick labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_TICKS = 7
_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
)  # fmt: skip
_DAY_S = 86_400
_MINUTE_S = 60
_SHORT_S = 600


@dataclass(frozen=True)
class Tick:
    """A label and its position along the axis, in per cent."""

    place: float
    label: str


@dataclass(frozen=True)
class TimeAxis:
    """From `start` to `end`, both aware; left to right."""

    start: datetime
    end: datetime

    @property
    def span_s(self) -> float:
        """Length in seconds; never 0."""
        return max((self.end - self.start).total_seconds(), 1e-3)

    def place(self, moment: datetime) -> float:
        """Per cent from the left, clamped to the axis."""
        return 100 * min(1.0, max(0.0, (moment - self.start).total_seconds() / self.span_s))

    def say(self, moment: datetime) -> str:
        """The time as text: to the minute, on a short axis to the second."""
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC" if self.span_s < _SHORT_S else in_utc(moment)

    def ticks(self) -> list[Tick]:
        """At most seven round times in UTC; midnight shows the day."""
        step_s = next((step for step in _STEPS_S if self.span_s / step <= _MOST_TICKS - 1), self.span_s)
        first = math.ceil((self.start - _EPOCH).total_seconds() / step_s)
        last = math.floor((self.end - _EPOCH).total_seconds() / step_s)
        moments = [_EPOCH + timedelta(seconds=number * step_s) for number in range(first, last + 1)]
        return [Tick(self.place(moment), _time_label(moment, step_s)) for moment in moments]


def _time_label(moment: datetime, step_s: float) -> str:
    if step_s >= _DAY_S or (moment.hour, moment.minute, moment.second) == (0, 0, 0):
        return f"{moment.day} {moment:%b}"
    return f"{moment:%H:%M}" if step_s >= _MINUTE_S else f"{moment:%H:%M:%S}"


@dataclass(frozen=True)
class ValueAxis:
    """From 0 up to `top`, bottom to top; `show` formats a value."""

    top: float
    step: float
    show: Callable[[float], str]

    def place(self, value: float) -> float:
        """Per cent from the top, as SVG counts, clamped to the axis."""
        return 100 * (1 - min(1.0, max(0.0, value / self.top)))

    def ticks(self) -> list[Tick]:
        """The round values, from 0."""
        count = round(self.top / self.step)
        return [Tick(self.place(number * self.step), self.show(number * self.step)) for number in range(count + 1)]


def value_axis(values: Sequence[float], show: Callable[[float], str]) -> ValueAxis:
    """An axis from 0 to the first round value above all of `values`, with about four steps of 1, 2 or 5 × 10ⁿ."""
    highest = max((value for value in values if value > 0), default=1.0) * 1.05
    magnitude = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor * 4 >= highest * 0.9999)
    return ValueAxis(step * math.ceil(highest / step - 1e-9), step, show)


def in_utc(moment: datetime) -> str:
    """A time to the minute: `1 Mar 2024, 11:45 UTC`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"
