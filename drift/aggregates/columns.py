"""One column of a window, from what its database counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from drift.aggregates.intervals import Intervals
from drift.aggregates.question import Answer, Group, Inside
from drift.comparison.columns import CurrentColumn, ReferenceColumn, single_value, value_text
from leeway.model.distances import spread

INNER_EDGES: Final = 64
PRECISION: Final = 1e-10
"""A smaller open area, in standard deviations of the reference, is ignored."""


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
        """Whether the open intervals hold more values than this, and an area that is not negligible."""
        if self._open.bound(self._values) <= PRECISION * self._spread:
            self._open = self._open.none()
        return bool(self._open.n.sum() > most_values)

    def divide(self, found: Sequence[Group]) -> None:
        """Add the counts between `edges(INNER_EDGES)`."""
        area, self._open = self._open.divided(INNER_EDGES, _bins(found)).area(self._values, self._centre)
        self._known += area

    def close(self, values: Inside) -> None:
        """Add all values of the open intervals, with the bins of `edges()`."""
        self._known += self._open.exact_area(self._values, values)
        self._open = self._open.none()


def _bins(found: Sequence[Group]) -> list[tuple[int, int, float | None, float | None, float | None]]:
    return [(each.bin, each.n, each.total, each.least, each.greatest) for each in found if each.bin is not None]


def current_column(reference: ReferenceColumn, answer: Answer, area: Area | None) -> CurrentColumn:
    """The column from what was counted; `area` is None if it is not measured by the Wasserstein distance."""
    there = [each for each in answer.groups if each.bin is not None]
    values, others = sum(each.n for each in there), sum(each.n for each in there if each.bin == 0)
    if area is not None:
        distance: float | None = area.distance
    elif reference.method == "jensenshannon":
        distance = reference.distance_to(_counts(reference, there), others)
    else:
        distance = None
    distinct = _distinct(reference, there)
    constant = len(distinct) <= 1 and distinct == reference.counts.keys()
    only = None if answer.only_value is None else value_text(answer.only_value, reference.kind)
    single = single_value(reference, only, next(iter(distinct), None))
    outside = others if reference.kind == "category" or reference.low is None else answer.outside
    return CurrentColumn(
        distance,
        1 - values / max(1, sum(each.n for each in answer.groups)),
        constant=constant,
        outside_share=outside / max(1, values),
        new_categories=answer.new_categories,
        single=None if constant or not values else single,
    )


def _distinct(reference: ReferenceColumn, there: Sequence[Group]) -> set[Any]:
    """The values that are present, as far as it matters whether they are one or several."""
    if reference.kind == "category":
        return {each.word for each in there}  # all new ones are None together
    return {extreme for each in there for extreme in (each.least, each.greatest)}


def _counts(reference: ReferenceColumn, there: Sequence[Group]) -> dict[float | str | None, int]:
    """How often each known value occurs."""
    if reference.kind == "category":
        return {each.word: each.n for each in there if each.bin}
    points = sorted(reference.counts)
    return {points[each.bin - 1]: each.n for each in there if each.bin}
