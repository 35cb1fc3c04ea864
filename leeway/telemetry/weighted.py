"""Histograms that record many measurements at once, as `leeway.telemetry.tally` aggregates them.

The API records one value at a time. Here a value can represent others in its bucket, and the aggregation, which a View
sets, counts all of them. Any other aggregation counts it once, as a plain number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation, _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.exemplar import ExemplarReservoirBuilder
from opentelemetry.sdk.metrics._internal.instrument import _Instrument
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation
from opentelemetry.util.types import Attributes


class Weighted(float):
    """A measurement of the time `at_ns` (Unix time) that represents `count` in its bucket, including itself.

    `total` is their sum, `extremes` are the smallest and the largest.
    """

    count: int
    total: float
    extremes: tuple[float, float]
    at_ns: int

    def __new__(cls, shown: float, count: int, total: float, extremes: tuple[float, float], at_ns: int) -> Self:
        """Create one; `count` is at least 1."""
        made = super().__new__(cls, shown)
        made.count, made.total, made.extremes, made.at_ns = count, total, extremes, at_ns
        return made


class WeightedHistogramAggregation(ExplicitBucketHistogramAggregation):
    """The SDK's explicit buckets, for measurements that can represent others."""

    def __init__(self, boundaries: Sequence[float]) -> None:
        super().__init__(boundaries)
        self._bounds = boundaries

    def _create_aggregation(
        self,
        instrument: _Instrument,
        attributes: Attributes,
        reservoir_factory: Callable[[type[_Aggregation[Any]]], ExemplarReservoirBuilder],
        start_time_unix_nano: int,
    ) -> _ExplicitBucketHistogramAggregation:
        """See the SDK's; our histograms are synchronous, so their measurements are deltas."""
        del instrument  # the parameter is the SDK's
        return _WeightedHistogram(
            attributes,
            AggregationTemporality.DELTA,
            start_time_unix_nano,
            reservoir_factory(_ExplicitBucketHistogramAggregation),
            self._bounds,
        )


class _WeightedHistogram(_ExplicitBucketHistogramAggregation):
    """The SDK has no public base class for this; tests check sums, counts and exemplars."""

    _value: Any
    _sum: Any
    _min: float
    _max: float

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:  # noqa: FBT001, FBT002 (the SDK's)
        held = measurement.value
        if not isinstance(held, Weighted):
            super().aggregate(measurement, should_sample_exemplar)
            return
        shown = float(held)  # exemplars keep a plain number
        with self._lock:
            if self._value is None:
                self._value = self._get_empty_bucket_counts()
            self._value[bisect_left(self._boundaries, shown)] += held.count
            self._sum += held.total
            self._min, self._max = min(self._min, held.extremes[0]), max(self._max, held.extremes[1])
        self._sample_exemplar(replace(measurement, value=shown, time_unix_nano=held.at_ns), should_sample_exemplar)
