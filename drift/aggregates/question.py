"""What to count in a column of a window, and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from leeway.schema import Kind

Floats: TypeAlias = npt.NDArray[np.float64]


class Part(NamedTuple):
    """The rows that have this text in a column."""

    column: str
    text: str


@dataclass(frozen=True, eq=False)
class Question:
    """What to count in one column of a window, or of a part of it.

    Questions that are asked together have no parts, or parts by the same column.

    Values are counted one by one if they are `known`, and else between `bounds` (ascending). Numbers are also counted
    if they are outside the range `usual`; `centre` is subtracted from each before they are summed. Where few values
    occur often (`repeats`), equal ones are counted before they are put into bins, which is faster.
    """

    column: str
    kind: Kind
    bounds: Floats = field(default_factory=lambda: np.empty(0))
    known: tuple[Any, ...] | None = None
    usual: tuple[float, float] | None = None
    centre: float = 0.0
    repeats: bool = True
    part: Part | None = None


def stored_columns(questions: Sequence[Question]) -> list[tuple[str, Kind]]:
    """The columns of the questions with their kinds, each once."""
    return list(dict.fromkeys((each.column, each.kind) for each in questions))


def parts_of(questions: Sequence[Question]) -> list[Part]:
    """The parts of the questions, each once."""
    return list(dict.fromkeys(each.part for each in questions if each.part))


class Bins(NamedTuple):
    """The numbers of a column by bin, in arrays with an entry for each bin that has any.

    For bounds, `places` is the number of bounds that are at most the value; for known numbers it is the number's place,
    from 1, and 0 for others. `total` is the sum of the differences from the centre.
    """

    places: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    total: Floats
    least: Floats
    greatest: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Bins:
        """From rows of (place, n, total, least, greatest)."""
        places, n, *figures = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(np.array(places, np.int64), np.array(n, np.int64), *(np.array(each, np.float64) for each in figures))

    @classmethod
    def joined(cls, parts: Sequence[Bins]) -> Bins:
        """From parts, none of which has a bin of another."""
        return cls(*map(np.concatenate, zip(*parts, strict=True))) if parts else cls.of([])


@dataclass(frozen=True)
class Answer:
    """A column of a window: its numbers in `bins`, or its known categories in `words` with the number of `others`.

    `outside` counts the numbers outside the usual range. `new_categories` are the most frequent ones that are not
    known. `only_value` is the only value, as it is stored and not clipped; None if there are several, or none.
    """

    missing: int
    bins: Bins = field(default_factory=lambda: Bins.of([]))
    words: Mapping[str, int] = field(default_factory=dict)
    others: int = 0
    outside: int = 0
    new_categories: tuple[str, ...] = ()
    only_value: Any = None

    @property
    def values(self) -> int:
        """How many values there are."""
        return int(self.bins.n.sum()) + sum(self.words.values()) + self.others

    @property
    def rows(self) -> int:
        """How many rows there are, with those without a value."""
        return self.values + self.missing


class Inside(NamedTuple):
    """Values in the odd bins of a question, whose bounds alternate in and out: bin, value, and how many."""

    bins: npt.NDArray[np.int64]
    values: Floats
    counts: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Inside:
        """From rows of (bin, value, n)."""
        bins, values, counts = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(bins, np.int64), np.array(values, np.float64), np.array(counts, np.float64))


class Columns(Protocol):
    """The rows of a window in a database, one per subject: counted without reading them all into memory."""

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question, in one pass."""
        ...

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        """The values in the odd bins of each question."""
        ...
