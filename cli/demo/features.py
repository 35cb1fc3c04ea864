"""The features before and after: what the service was asked in one act, and in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drift.result import RunResult
from leeway.schema import CHURN_SCHEMA, Feature, Value
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLog, Window
from leeway.store.tables import tables_for

MOST_BINS: Final = 18
_EDGES: Final = (0.005, 0.995)


@dataclass(frozen=True)
class FeatureShift:
    """How one feature was spread before and after: the share of values in each of the bins from `low` to `high`.

    What lies outside counts in the first or last bin; the means are of all values.
    """

    feature: str
    unit: str
    low: float
    high: float
    before: tuple[float, ...]
    after: tuple[float, ...]
    mean_before: float
    mean_after: float


def read_shifts(
    database_url: str, before: tuple[datetime, datetime], after: tuple[datetime, datetime], run: RunResult
) -> list[FeatureShift]:
    """The numeric features that `run` found drifted, farthest first, as asked in these two stretches (aware times).

    Raises:
        leeway.store.engine.DatabaseError: the predictions cannot be read.
    """
    engine = open_engine(database_url)
    try:
        log = PredictionLog(engine, tables_for(CHURN_SCHEMA))
        sides = log.window(*before), log.window(*after)
    finally:
        engine.dispose()
    return shifts(*sides, [each.feature for each in run.ranked if each.detected])


def shifts(before: Window, after: Window, names: Sequence[str]) -> list[FeatureShift]:
    """The spread of these features in two windows; those that are no numbers, or have no values, are left out."""
    units = {each.name: _unit(each) for each in CHURN_SCHEMA if each.kind in {"number", "integer"}}
    found = []
    for name in names:
        if name in units:
            sides = _numbers(before.features[name]), _numbers(after.features[name])
            if sides[0].size and sides[1].size:
                found.append(_shift(name, units[name], *sides))
    return found


def _unit(feature: Feature) -> str:
    """The unit; what only names the things that are counted, in braces, is none."""
    unit = feature.unit or ""
    return "" if unit.startswith("{") else unit


def _numbers(values: Sequence[Value]) -> NDArray[np.float64]:
    return np.array([float(value) for value in values if value is not None], dtype=np.float64)


def _shift(name: str, unit: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> FeatureShift:
    edges = _bin_edges(np.concatenate([before, after]))
    return FeatureShift(
        name,
        unit,
        float(edges[0]),
        float(edges[-1]),
        _shares(before, edges),
        _shares(after, edges),
        float(before.mean()),
        float(after.mean()),
    )


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers each have a bin while there are few; else even bins over all but the outermost 1 %."""
    low, high = np.quantile(values, _EDGES)
    if np.all(values == np.floor(values)):
        step = np.ceil((high - low + 1) / MOST_BINS)
        return np.arange(low, high + step + 0.5, step)
    return np.linspace(low, max(high, low + 1e-9), MOST_BINS + 1)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    counts, _ = np.histogram(inside, edges)
    return tuple(float(count) / values.size for count in counts)
