"""One column of a window, from what its database counted."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from drift.aggregates.intervals import Intervals
from drift.aggregates.question import Answer, Bins, Floats, Inside
from drift.comparison.columns import CurrentColumn, ReferenceColumn, single_value, value_text

INNER_EDGES: Final = 64
PRECISION: Final = 1e-10
"""A smaller open area, in standard deviations of the reference, is ignored."""


class Area:
    """The area between the distribution functions of the reference and of a window: what is known, and what is open."""

    def __init__(self, column: ReferenceColumn, found: Bins, centre: float) -> None:
        self._values = float(found.n.sum())
        self._centre = centre
        self._spread = column.spread
        shares = np.cumsum(column.counts.times) / column.counts.total
        intervals = Intervals.between(column.counts.numbers, shares, found)
        self._known, self._open = intervals.area(self._values, centre)

    @property
    def distance(self) -> float:
        """The normed Wasserstein distance, if nothing is open."""
        return self._known / self._spread

    def edges(self, inner: int = 1) -> Floats:
        """The bounds of the open intervals, see `Intervals.edges`."""
        return self._open.edges(inner)

    def is_open_for(self, most_values: int) -> bool:
        """Whether the open intervals hold more values than this, and an area that is not negligible."""
        if self._open.bound(self._values) <= PRECISION * self._spread:
            self._open = self._open.none()
        return bool(self._open.n.sum() > most_values)

    def divide(self, found: Bins) -> None:
        """Add the counts between `edges(INNER_EDGES)`."""
        area, self._open = self._open.divided(INNER_EDGES, found).area(self._values, self._centre)
        self._known += area

    def close(self, values: Inside) -> None:
        """Add all values of the open intervals, with the bins of `edges()`."""
        self._known += self._open.exact_area(self._values, values)
        self._open = self._open.none()


def current_column(reference: ReferenceColumn, answer: Answer, area: Area | None) -> CurrentColumn:
    """The column from what was counted; `area` is None if it is not measured by the Wasserstein distance."""
    values = answer.values
    if area is not None:
        distance: float | None = area.distance
    elif reference.method == "jensenshannon":
        distance = reference.distance_to(*_counts(reference, answer))
    else:
        distance = None
    distinct = _distinct(reference, answer)
    constant = reference.is_constant(distinct)
    only = None if answer.only_value is None else value_text(answer.only_value, reference.kind)
    single = single_value(reference, only, next(iter(distinct), None))
    outside = values if reference.low is None else answer.outside
    if reference.kind == "category":
        outside = answer.others
    return CurrentColumn(
        distance,
        1 - values / max(1, answer.rows),
        constant=constant,
        outside_share=outside / max(1, values),
        new_categories=answer.new_categories,
        single=None if constant or not values else single,
    )


def _distinct(reference: ReferenceColumn, answer: Answer) -> set[Any]:
    """The values that are present, as far as it matters whether they are one or several."""
    if reference.kind == "category":
        return {*answer.words, *([None] if answer.others else [])}  # all new ones are None together
    bins = answer.bins
    return {float(extreme) for extreme in (bins.least.min(), bins.greatest.max())} if bins.n.size else set()


def _counts(reference: ReferenceColumn, answer: Answer) -> tuple[dict[Any, int], int]:
    """How often each known value occurs, and others."""
    if reference.kind == "category":
        return dict(answer.words), answer.others
    points = reference.counts.numbers
    found = dict(zip(answer.bins.places.tolist(), answer.bins.n.tolist(), strict=True))
    others = found.pop(0, 0)
    return {float(points[place - 1]): n for place, n in found.items()}, others
