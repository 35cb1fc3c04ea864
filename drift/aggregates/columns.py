"""One column of a window, from what its database counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from drift.aggregates.intervals import Intervals
from drift.comparison.columns import CurrentColumn, ReferenceColumn, single_value
from leeway.model.distances import spread

INNER_EDGES: Final = 64
PRECISION: Final = 1e-10
"""An open area that is smaller, in standard deviations of the reference, is left out."""


class Group(NamedTuple):
    """A row of `drift.aggregates.statements.groups`: the values of one column in one bin."""

    bin: int | None
    word: str | None
    n: int
    total: float | None
    least: float | None
    greatest: float | None
    outside: int


class Area:
    """The area between the distribution functions of the reference and of a window: what is known, and what is open."""

    def __init__(self, column: ReferenceColumn, found: Sequence[Group], centre: float) -> None:
        points, counts = np.array(sorted(column.counts.items()), dtype=np.float64).T
        self._values = float(sum(each.n for each in found if each.bin is not None))
        self._centre = centre
        self._spread = spread(column.entries)
        intervals = Intervals.between(points, np.cumsum(counts) / counts.sum(), _bins(found))
        self._known, self._open = intervals.area(self._values, centre)

    @property
    def distance(self) -> float:
        """The normed Wasserstein distance, if nothing is open."""
        return self._known / self._spread

    def edges(self, inner: int = 1) -> tuple[float, ...]:
        """The bounds of the open intervals, see `Intervals.edges`."""
        return tuple(self._open.edges(inner).tolist())

    def is_open_for(self, most_values: int) -> bool:
        """Whether the open intervals hold more values than that, and an area that matters."""
        if self._open.bound(self._values) <= PRECISION * self._spread:
            self._open = self._open.none()
        return bool(self._open.n.sum() > most_values)

    def divide(self, found: Sequence[Group]) -> None:
        """Take what was counted between `edges(INNER_EDGES)`."""
        area, self._open = self._open.divided(INNER_EDGES, _bins(found)).area(self._values, self._centre)
        self._known += area

    def close(self, values: Sequence[tuple[int, float, int]]) -> None:
        """Take all values of the open intervals: (bin, value, how many), with the bins of `edges()`."""
        self._known += self._open.exact_area(self._values, values)
        self._open = self._open.none()


def _bins(found: Sequence[Group]) -> list[tuple[int, int, float | None, float | None, float | None]]:
    return [(each.bin, each.n, each.total, each.least, each.greatest) for each in found if each.bin is not None]


@dataclass(frozen=True)
class Details:
    """What the groups of a column do not tell.

    `area` is None if the column is not measured by the Wasserstein distance, `only_value` if there are more values or
    none; it is text, as it was given and not clipped.
    """

    area: Area | None
    new_categories: tuple[str, ...]
    only_value: str | None


def is_single(column: ReferenceColumn, found: Sequence[Group]) -> bool:
    """Whether all values that are present are the same one, once clipped."""
    return len(_distinct(column, found)) == 1


def current_column(reference: ReferenceColumn, found: Sequence[Group], details: Details) -> CurrentColumn:
    """The column from its groups and details."""
    there = [each for each in found if each.bin is not None]
    values, others = sum(each.n for each in there), sum(each.n for each in there if each.bin == 0)
    if details.area is not None:
        distance: float | None = details.area.distance
    elif reference.method == "jensenshannon":
        distance = reference.distance_to(_counts(reference, there), others)
    else:
        distance = None
    distinct = _distinct(reference, found)
    constant = len(distinct) <= 1 and distinct == reference.counts.keys()
    single = single_value(reference, details.only_value, next(iter(distinct), None))
    outside = others if reference.kind == "category" or reference.low is None else sum(each.outside for each in there)
    return CurrentColumn(
        distance,
        1 - values / max(1, sum(each.n for each in found)),
        constant=constant,
        outside_share=outside / max(1, values),
        new_categories=details.new_categories,
        single=None if constant or not values else single,
    )


def _distinct(reference: ReferenceColumn, found: Sequence[Group]) -> set[Any]:
    """The values that are present, as far as it matters whether they are one or several."""
    there = [each for each in found if each.bin is not None]
    if reference.kind == "category":
        return {each.word for each in there}  # all new ones are None together
    return {extreme for each in there for extreme in (each.least, each.greatest)}


def _counts(reference: ReferenceColumn, there: Sequence[Group]) -> dict[float | str | None, int]:
    """How often each known value occurs."""
    if reference.kind == "category":
        return {each.word: each.n for each in there if each.bin}
    points = sorted(reference.counts)
    return {points[each.bin - 1]: each.n for each in there if each.bin}
