"""The exact Wasserstein distance from counts and sums between the reference's values, instead of from all values.

The first Wasserstein distance is the area between two distribution functions. Between two neighbouring values of the
reference its own function is flat, so the area over that interval follows from how many of the window's values lie in
it and from their sum, as long as the window's function does not cross that flat line: the area of a difference that
keeps its sign is the absolute value of its integral. Where it does cross (at most once an interval, as it only rises),
the values of that interval are needed, or a finer division of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drift.aggregates.question import Bins, Floats, Inside


@dataclass(frozen=True)
class Intervals:
    """Neighbouring or separate intervals, in ascending order; each array has one entry per interval.

    `share` is the reference's distribution function on the interval [left, right), `before` the number of the window's
    values that are smaller than all in the interval. Of the n values in it, `total` is the sum (of differences from a
    centre), `least` and `greatest` are the extremes; these three are undefined where n is 0. Left of all values `left`
    is the least of them, right of all `right` is the greatest: beyond, both functions are equal.
    """

    share: Floats
    left: Floats
    right: Floats
    before: Floats
    n: Floats
    total: Floats
    least: Floats
    greatest: Floats

    @classmethod
    def between(cls, points: Floats, shares: Floats, found: Bins) -> Intervals:
        """Intervals between the reference's distinct values and beyond them.

        `shares` are the values of the reference's distribution function at its `points`, which are the bounds of the
        bins.
        """
        n, total, least, greatest = _by_bin(len(points) + 1, found)
        left, right = np.append(least[0], points), np.append(points, greatest[-1])
        if not n[0]:
            left[0] = right[0]
        if not n[-1]:
            right[-1] = left[-1]
        before = np.concatenate([[0.0], np.cumsum(n)[:-1]])
        return cls(np.concatenate([[0.0], shares]), left, right, before, n, total, least, greatest)

    def __len__(self) -> int:
        return len(self.n)

    def area(self, values: float, centre: float) -> tuple[float, Intervals]:
        """The area between the two functions where it is known, and the inner parts of the intervals that cross.

        `values` is the number of all values of the window. The parts of an interval before its least and after its
        greatest value are known in any case.
        """
        some = self.n > 0
        below, above = self.before / values - self.share, (self.before + self.n) / values - self.share
        least, greatest = np.where(some, self.least, self.left), np.where(some, self.greatest, self.left)
        outer = np.abs(below) * (least - self.left) + np.abs(above) * (self.right - greatest)
        width = greatest - least
        crosses = some & (width > 0) & (below < 0) & (above > 0)
        # The window's function integrated from the least to the greatest value, less that of the reference.
        rise = np.where(some, self.n * (greatest - centre) - self.total, 0.0) / values
        inner = np.where(crosses, 0.0, np.abs(below * width + rise))
        return float(np.sum(outer + np.where(some, inner, 0.0))), self._only(crosses, least, greatest)

    def _only(self, chosen: npt.NDArray[np.bool_], left: Floats, right: Floats) -> Intervals:
        columns = (self.share, left, right, self.before, self.n, self.total, self.least, self.greatest)
        return Intervals(*(column[chosen] for column in columns))

    def none(self) -> Intervals:
        """No intervals."""
        return self._only(np.zeros(len(self), dtype=np.bool_), self.left, self.right)

    def edges(self, inner: int = 1) -> Floats:
        """Ascending bounds: for each interval `inner` that divide it, from its left end on, and one after its end."""
        steps = np.arange(inner) / inner
        inside = self.left[:, None] + (self.right - self.left)[:, None] * steps
        return np.concatenate([inside, np.nextafter(self.right, np.inf)[:, None]], axis=1).ravel()

    def divided(self, inner: int, found: Bins) -> Intervals:
        """These intervals, each in `inner` parts; the bounds of the bins are `edges(inner)`."""
        shape = len(self), inner + 1
        counted = [each[1:].reshape(shape)[:, :-1] for each in _by_bin(len(self) * (inner + 1) + 1, found)]
        n = counted[0]
        before = self.before[:, None] + np.cumsum(n, axis=1) - n
        edges = self.edges(inner).reshape(shape)
        left, right = edges[:, :-1], np.append(edges[:, 1:-1], self.right[:, None], axis=1)
        share = np.repeat(self.share[:, None], inner, axis=1)
        parts = (share, left, right, before, *counted)
        return Intervals(*(part.ravel() for part in parts))

    def exact_area(self, values: float, inside: Inside) -> float:
        """The area over these intervals from all of their values, with the bins of `edges()`."""
        order = np.argsort(inside.values)
        bins, points, counts = inside.bins[order] // 2, inside.values[order], inside.counts[order]
        starts = np.searchsorted(bins, np.arange(len(self)))
        within = np.cumsum(counts)
        reached = self.before[bins] + within - (within - counts)[starts[bins]]
        same = bins[1:] == bins[:-1]
        gaps = np.abs(reached[:-1] / values - self.share[bins[:-1]]) * np.diff(points)
        return float(np.sum(gaps[same]))

    def bound(self, values: float) -> float:
        """The area over these intervals is at most this."""
        return float(np.sum((self.right - self.left) * self.n)) / values


def _by_bin(size: int, found: Bins) -> tuple[Floats, Floats, Floats, Floats]:
    """(n, total, least, greatest) with one entry per bin; 0 for a bin without values."""
    figures = np.zeros((4, size))
    figures[:, found.places] = found[1:]
    n, total, least, greatest = figures
    return n, total, least, greatest
