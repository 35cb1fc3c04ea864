"""The area between two distribution functions from counts and sums, against scipy's from all values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from drift.aggregates.intervals import Intervals
from drift.aggregates.question import Bins, Inside

Floats = NDArray[np.float64]
INNER = 4


def counted(values: Floats, bounds: Floats, centre: float) -> Bins:
    """What a database counts."""
    bins = np.searchsorted(bounds, values, side="right")
    groups = {int(each): values[bins == each] for each in np.unique(bins)}
    rows = [(place, len(x), float((x - centre).sum()), float(x.min()), float(x.max())) for place, x in groups.items()]
    return Bins.of(rows)


def distance(reference: Floats, window: Floats, divisions: int) -> float:
    """The distance, with open intervals divided so many times before their values are fetched."""
    points, counts = np.unique(reference, return_counts=True)
    centre, n = float(reference.mean()), float(window.size)
    intervals = Intervals.between(points, np.cumsum(counts) / counts.sum(), counted(window, points, centre))
    known, rest = intervals.area(n, centre)
    for _ in range(divisions):
        bounds = rest.edges(INNER)
        area, rest = rest.divided(INNER, counted(window, bounds, centre)).area(n, centre)
        known += area
    bounds = rest.edges()
    values, times = np.unique(window, return_counts=True)
    bins = np.searchsorted(bounds, values, side="right")
    inside = [(b, v, t) for b, v, t in zip(bins.tolist(), values.tolist(), times.tolist(), strict=True) if b % 2]
    return known + rest.exact_area(n, Inside.of(inside))


numbers = st.lists(st.floats(-100, 100, allow_subnormal=False) | st.integers(-3, 3).map(float), min_size=1, max_size=30)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(reference=numbers, window=numbers, divisions=st.integers(0, 3))
def test_the_area_is_exact(reference: list[float], window: list[float], divisions: int) -> None:
    """Whatever the values, and however often the open intervals are divided."""
    before, after = np.array(reference), np.array(window)
    expected = wasserstein_distance(before, after)
    assert distance(before, after, divisions) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_an_open_interval_shrinks_when_it_is_divided() -> None:
    """The functions cross in one of its parts only, so the area that is unknown falls by a multiple."""
    reference, window = np.array([0.0, 1.0]), np.linspace(0, 1, 1_000)
    known, rest = Intervals.between(reference, np.array([0.5, 1.0]), counted(window, reference, 0.5)).area(1_000, 0.5)
    _, divided = rest.divided(INNER, counted(window, rest.edges(INNER), 0.5)).area(1_000, 0.5)
    assert (len(rest), len(divided)) == (1, 1)
    assert known < rest.bound(1_000) / 100
    assert divided.bound(1_000) < rest.bound(1_000) / INNER
