"""The windows of time that a run compares: whole days, or the last minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

_PERIOD: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?")


@dataclass(frozen=True)
class Period:
    """The rows of [start, end), aware times; None for no bound."""

    start: datetime | None = None
    end: datetime | None = None

    def __str__(self) -> str:
        if self.start is None or self.end is None:
            return "all rows"
        return f"{self.start.isoformat(timespec='minutes')} to {self.end.isoformat(timespec='minutes')}"


@dataclass(frozen=True)
class Days:
    """Whole days, both included; in which time zone, the mapping says."""

    first: date
    last: date

    def period(self, zone: tzinfo) -> Period:
        """From the beginning of the first day to the end of the last one."""
        after = self.last + timedelta(days=1)
        return Period(datetime.combine(self.first, time(), zone), datetime.combine(after, time(), zone))


def parse_days(text: str) -> Days | None:
    """Read `2026-10-01..2026-10-31`, or one day; None if it is neither.

    >>> parse_days("2026-10-01..2026-10-31")
    Days(first=datetime.date(2026, 10, 1), last=datetime.date(2026, 10, 31))
    >>> parse_days("october") is None
    True

    Raises:
        ValueError: a day does not exist, or the last is before the first.
    """
    match = _PERIOD.fullmatch(text)
    if match is None:
        return None
    try:
        first, last = (date.fromisoformat(day) for day in (match[1], match[2] or match[1]))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return Days(first, last)
