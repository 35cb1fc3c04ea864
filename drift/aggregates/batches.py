"""Counts the columns of a window in batches, for databases that run in this process.

SQLite and DuckDB hand rows over without a network in between, and NumPy sorts numbers faster than they group them: a
million numbers take a few milliseconds. PostgreSQL counts by itself, see `drift.aggregates.statements`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from drift.aggregates.question import Answer, Bins, Floats, Inside, Question
from drift.comparison.columns import NAMED_CATEGORIES
from leeway.model.encoding import FLOAT32_MAX

BATCH_ROWS: Final = 131_072
WIDEST_RANGE: Final = 65_536
MOST_WORDS: Final = 100_000
"""If there are more new categories than this, rare ones are counted without their names."""


class Entries(NamedTuple):
    """One column of a batch of `size` rows: its numbers or flags that are not NULL, or how often each text occurs."""

    size: int
    numbers: npt.NDArray[Any] | None = None
    words: Mapping[str, int] | None = None


def count_batches(batches: Iterable[Sequence[Entries]], questions: Sequence[Question]) -> list[Answer]:
    """Answer each question; a batch has an entry for each of them."""
    columns = [_Words(each) if each.kind == "category" else _counted_numbers(each) for each in questions]
    for batch in batches:
        for column, entries in zip(columns, batch, strict=True):
            column.add(entries)
    return [column.answer() for column in columns]


def inside_batches(batches: Iterable[Sequence[Entries]], questions: Sequence[Question]) -> list[Inside]:
    """The values in the odd bins of each question."""
    found: list[list[Inside]] = [[] for _ in questions]
    bounds = [each.bounds for each in questions]
    for batch in batches:
        for parts, edges, entries in zip(found, bounds, batch, strict=True):
            numbers = _sorted(_present(entries))
            ends = np.searchsorted(numbers, edges)
            chosen = np.repeat(np.arange(1, len(edges), 2), ends[1::2] - ends[::2])
            values = np.concatenate([numbers[low:high] for low, high in zip(ends[::2], ends[1::2], strict=True)])
            parts.append(Inside(chosen, values, np.ones(len(values))))
    return [Inside(*(np.concatenate(column) for column in zip(*parts, strict=True))) for parts in found]


class _Words:
    def __init__(self, question: Question) -> None:
        self._known = dict.fromkeys(question.known or (), 0)
        self._new: Counter[str] = Counter()
        self._others = 0
        self._missing = 0

    def add(self, entries: Entries) -> None:
        words = entries.words or {}
        self._missing += entries.size - sum(words.values())
        for word, n in words.items():
            if word in self._known:
                self._known[word] += n
            else:
                self._new[word] += n
                self._others += n
        if len(self._new) > MOST_WORDS:
            self._new = Counter(dict(self._new.most_common(MOST_WORDS // 2)))

    def answer(self) -> Answer:
        known = {word: n for word, n in self._known.items() if n}
        there = [*known, *self._new]
        new = sorted(self._new, key=lambda word: (-self._new[word], word))[:NAMED_CATEGORIES]
        only = there[0] if len(there) == 1 else None
        return Answer(self._missing, words=known, others=self._others, new_categories=tuple(new), only_value=only)


class _Values:
    """Numbers in ascending order, with how often each occurs; without `times` each entry is one of them."""

    def __init__(self, values: Floats, times: npt.NDArray[np.int64] | None = None) -> None:
        self.values = values
        self._times = times
        self._reached = None if times is None else np.concatenate([[0], np.cumsum(times)])

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return self.values.size if self._reached is None else int(self._reached[-1])

    def before(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """How many numbers there are before each place among the values."""
        return places if self._reached is None else self._reached[places]

    def between(self, lows: npt.ArrayLike, highs: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """How many numbers there are from each low to its high, both included."""
        starts, ends = np.searchsorted(self.values, lows), np.searchsorted(self.values, highs, "right")
        return self.before(ends) - self.before(starts)

    def differences(self, centre: float) -> Floats:
        """The differences of the numbers from a centre, summed for each value."""
        single = self.values - centre
        return single if self._times is None else single * self._times


class _Numbers:
    """Numbers in bins between bounds."""

    def __init__(self, question: Question, edges: Floats) -> None:
        self._edges = edges
        self._usual = question.usual
        self._centre = question.centre
        self._missing = self._outside = 0
        self._stored: set[Any] = set()
        size = len(self._edges) + 1
        self._n, self._total = np.zeros(size, dtype=np.int64), np.zeros(size)
        self._least, self._greatest = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, entries: Entries) -> None:
        present = _present(entries)
        self._missing += entries.size - present.size
        if not present.size:
            return
        if len(self._stored) < 2:  # noqa: PLR2004 (one more is enough to know that there are several)
            self._stored |= {present.min().item(), present.max().item()}
        numbers = _in_order(present)
        if self._usual is not None:
            self._outside += present.size - int(numbers.between(*self._usual))
        self._put(numbers)

    def _put(self, numbers: _Values) -> None:
        values = numbers.values
        ends = np.concatenate([[0], np.searchsorted(values, self._edges), [values.size]])
        some = np.diff(ends) > 0
        starts = ends[:-1][some]
        self._n += np.diff(numbers.before(ends))
        self._total[some] += np.add.reduceat(numbers.differences(self._centre), starts)
        self._least[some] = np.minimum(self._least[some], values[starts])
        self._greatest[some] = np.maximum(self._greatest[some], values[ends[1:][some] - 1])

    def answer(self) -> Answer:
        places = np.flatnonzero(self._n)
        bins = Bins(places, self._n[places], self._total[places], self._least[places], self._greatest[places])
        only = next(iter(self._stored)) if len(self._stored) == 1 else None
        return Answer(self._missing, bins, outside=self._outside, only_value=only)


class _KnownNumbers(_Numbers):
    """Numbers counted one by one, and others in bin 0."""

    def _put(self, numbers: _Values) -> None:
        values, n = numbers.values, numbers.between(self._edges, self._edges)
        is_other = np.ones(values.size, dtype=np.bool_)
        for start, end in zip(
            np.searchsorted(values, self._edges), np.searchsorted(values, self._edges, "right"), strict=True
        ):
            is_other[start:end] = False
        others = values[is_other]
        self._n += np.concatenate([[numbers.total - n.sum()], n])
        self._least[1:] = self._greatest[1:] = self._edges
        if others.size:
            self._least[0], self._greatest[0] = min(self._least[0], others[0]), max(self._greatest[0], others[-1])


def _counted_numbers(question: Question) -> _Numbers:
    if question.known is None:
        return _Numbers(question, question.bounds)
    return _KnownNumbers(question, np.array(question.known, dtype=np.float64))


def _present(entries: Entries) -> npt.NDArray[Any]:
    """The numbers of a column, without NaN and infinities."""
    numbers = np.empty(0) if entries.numbers is None else entries.numbers
    return numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers


def _in_order(present: npt.NDArray[Any]) -> _Values:
    """Integers of a small range are counted, which is faster than sorting them."""
    if present.dtype.kind not in "iu":
        return _Values(_sorted(present))
    least, greatest = int(present.min()), int(present.max())
    if greatest - least >= WIDEST_RANGE:
        return _Values(_sorted(present))
    times = np.bincount(present.astype(np.int64, copy=False) - least)
    there = np.flatnonzero(times)
    return _Values((there + least).astype(np.float64), times[there])


def _sorted(present: npt.NDArray[Any]) -> Floats:
    """The numbers in ascending order, clipped to the range of 32-bit floats."""
    numbers = present.astype(np.float64)
    numbers.sort()
    return np.clip(numbers, -FLOAT32_MAX, FLOAT32_MAX, out=numbers)
