"""The distribution of each feature before and after: in the requests of one act, and of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drift.result import RunResult
from leeway.schema import CHURN_SCHEMA, Feature, Value
from leeway.store.engine import opened_engine
from leeway.store.predictions import PredictionLog, PredictionWindow
from leeway.store.tables import tables_for

MOST_BINS: Final = 18
_EDGES: Final = (0.005, 0.995)


@dataclass(frozen=True)
class FeatureShift:
    """One feature's distribution before and after: the share of values in each bin from `low` to `high`.

    Values outside count in the first or last bin; the means are of all values.
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
    """The numeric features that drifted in `run`, largest shift first, in these two intervals (aware times).

    Raises:
        leeway.store.engine.DatabaseError: the predictions cannot be read.
    """
    with opened_engine(database_url) as engine:
        log = PredictionLog(engine, tables_for(CHURN_SCHEMA))
        windows = log.window(*before), log.window(*after)
    return shifts(*windows, [each.feature for each in run.ranked if each.detected])


def shifts(before: PredictionWindow, after: PredictionWindow, names: Sequence[str]) -> list[FeatureShift]:
    """The distributions of these features in two windows, without non-numeric and empty ones."""
    units = {each.name: _unit(each) for each in CHURN_SCHEMA if each.kind in {"number", "integer"}}
    found = []
    for name in names:
        if name in units:
            values = _numbers(before.features[name]), _numbers(after.features[name])
            if values[0].size and values[1].size:
                found.append(_shift(name, units[name], *values))
    return found


def _unit(feature: Feature) -> str:
    """The unit; annotations in braces, such as {ticket}, are left out."""
    unit = feature.unit or ""
    return "" if unit.startswith("{") else unit


def _numbers(values: Sequence[Value]) -> NDArray[np.float64]:
    return np.array([float(value) for value in values if value is not None], dtype=np.float64)


def _shift(name: str, unit: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> FeatureShift:
    edges = _bin_edges(np.concatenate([before, after]))
    low, high = float(edges[0]), float(edges[-1])
    return FeatureShift(
        name, unit, low, high, _shares(before, edges), _shares(after, edges), float(before.mean()), float(after.mean())
    )


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One bin for each whole number if there are few; else equal bins over the central 99 %."""
    low, high = np.quantile(values, _EDGES)
    if np.all(values == np.floor(values)):
        step = np.ceil((high - low + 1) / MOST_BINS)
        return np.arange(low, high + step + 0.5, step)
    return np.linspace(low, max(high, low + 1e-9), MOST_BINS + 1)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    counts, _ = np.histogram(inside, edges)
    return tuple(float(count) / values.size for count in counts)
