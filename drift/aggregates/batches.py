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

from drift.aggregates.question import Answer, Floats, Group, Inside, Question
from drift.comparison.columns import NAMED_CATEGORIES
from leeway.model.encoding import FLOAT32_MAX

BATCH_ROWS: Final = 131_072
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
    bounds = [np.array(each.bounds) for each in questions]
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
        groups = [Group(1, word, n) for word, n in self._known.items() if n]
        groups += [Group(place, None, n) for place, n in ((0, self._others), (None, self._missing)) if n]
        there = [word for word, n in self._known.items() if n] + list(self._new)
        new = sorted(self._new, key=lambda word: (-self._new[word], word))[:NAMED_CATEGORIES]
        return Answer(groups, 0, tuple(new), there[0] if len(there) == 1 else None)


class _Numbers:
    """Numbers in bins between bounds."""

    def __init__(self, question: Question, edges: Sequence[float]) -> None:
        self._edges = np.array(edges, dtype=np.float64)
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
        numbers = _sorted(present)
        if self._usual is not None:
            low, high = np.searchsorted(numbers, self._usual[0]), np.searchsorted(numbers, self._usual[1], "right")
            self._outside += int(low + numbers.size - high)
        self._put(numbers)

    def _put(self, numbers: Floats) -> None:
        ends = np.concatenate([[0], np.searchsorted(numbers, self._edges), [numbers.size]])
        n = np.diff(ends)
        some = n > 0
        starts = ends[:-1][some]
        self._n += n
        self._total[some] += np.add.reduceat(numbers - self._centre, starts)
        self._least[some] = np.minimum(self._least[some], numbers[starts])
        self._greatest[some] = np.maximum(self._greatest[some], numbers[ends[1:][some] - 1])

    def answer(self) -> Answer:
        places = np.flatnonzero(self._n)
        figures = (places, self._n[places], self._total[places], self._least[places], self._greatest[places])
        found = zip(*(each.tolist() for each in figures), strict=True)
        groups = [Group(place, None, n, total, least, greatest) for place, n, total, least, greatest in found]
        if self._missing:
            groups.append(Group(None, None, self._missing))
        return Answer(groups, self._outside, (), next(iter(self._stored)) if len(self._stored) == 1 else None)


class _KnownNumbers(_Numbers):
    """Numbers counted one by one, and others in bin 0."""

    def _put(self, numbers: Floats) -> None:
        starts, ends = np.searchsorted(numbers, self._edges), np.searchsorted(numbers, self._edges, "right")
        n = ends - starts
        is_other = np.ones(numbers.size, dtype=np.bool_)
        for start, end in zip(starts, ends, strict=True):
            is_other[start:end] = False
        others = numbers[is_other]
        self._n += np.concatenate([[others.size], n])
        self._least[1:] = self._greatest[1:] = self._edges
        if others.size:
            self._least[0], self._greatest[0] = min(self._least[0], others[0]), max(self._greatest[0], others[-1])


def _counted_numbers(question: Question) -> _Numbers:
    return _Numbers(question, question.bounds) if question.known is None else _KnownNumbers(question, question.known)


def _present(entries: Entries) -> npt.NDArray[Any]:
    """The numbers of a column, without NaN and infinities."""
    numbers = np.empty(0) if entries.numbers is None else entries.numbers
    return numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers


def _sorted(present: npt.NDArray[Any]) -> Floats:
    """The numbers in ascending order, clipped to the range of 32-bit floats."""
    numbers = present.astype(np.float64)
    numbers.sort()
    return np.clip(numbers, -FLOAT32_MAX, FLOAT32_MAX, out=numbers)
