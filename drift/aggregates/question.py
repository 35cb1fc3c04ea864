"""What to count in a column of a window, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from leeway.schema import Kind

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What to count in one column of a window.

    Values are counted one by one if they are `known`, and else between `bounds` (ascending). Numbers are also counted
    if they are outside the range `usual`; `centre` is subtracted from each before they are summed. Where few values
    occur often (`repeats`), equal ones are counted before they are put into bins, which is faster.
    """

    column: str
    kind: Kind
    bounds: tuple[float, ...] = ()
    known: tuple[Any, ...] | None = None
    usual: tuple[float, float] | None = None
    centre: float = 0.0
    repeats: bool = True


class Group(NamedTuple):
    """The values of one column in one bin.

    `bin` is None for missing values. For bounds it is the number of bounds that are at most the value; for known
    numbers it is the number's place, from 1; for known categories it is 1, and `word` is the category; for other
    values it is 0. `total` is the sum of the differences from the centre.
    """

    bin: int | None
    word: str | None
    n: int
    total: float | None = None
    least: float | None = None
    greatest: float | None = None


class Answer(NamedTuple):
    """A column of a window: its groups, and what these do not show.

    `outside` counts the numbers outside the usual range. `new_categories` are the most frequent ones that are not
    known. `only_value` is the only value, as it is stored and not clipped; None if there are several, or none.
    """

    groups: Sequence[Group]
    outside: int = 0
    new_categories: tuple[str, ...] = ()
    only_value: Any = None


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
