"""Histograms that take many measurements at once: a batch of 1,000 rows would else spend more on them than on scoring.

The API records one value at a time. Here a value may carry a weight, and the aggregation, put in by a View, counts it
as often. Where another aggregation is in place it counts once, as any number does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation, _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.exemplar import ExemplarReservoirBuilder
from opentelemetry.sdk.metrics._internal.instrument import _Instrument
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation
from opentelemetry.util.types import Attributes, AttributeValue

from leeway.telemetry.names import Metric


class Weighted(float):
    """The mean of `weight` measurements that fell into one bucket."""

    weight: int

    def __new__(cls, mean: float, weight: int) -> Self:
        """Make one; `weight` is at least 1."""
        made = super().__new__(cls, mean)
        made.weight = weight
        return made


def record_all(
    histogram: Histogram, metric: Metric, values: Iterable[float], attributes: Mapping[str, AttributeValue]
) -> None:
    """Record `values` with the same attributes: one call for each bucket that has any, sum and counts exact."""
    buckets: dict[int, list[float]] = defaultdict(list)
    for value in values:
        buckets[bisect_left(metric.buckets, value)].append(value)
    for held in buckets.values():
        mean, weight = sum(held) / len(held), len(held)
        histogram.record(mean if weight == 1 else Weighted(mean, weight), attributes)


class WeightedHistogramAggregation(ExplicitBucketHistogramAggregation):
    """Explicit buckets, as the SDK's own, for measurements that may carry a weight."""

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
    """The SDK offers no public class to build on; a test holds its sums, counts and exemplars to what they must be."""

    _value: Any
    _sum: Any

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:  # noqa: FBT001, FBT002 (the SDK's)
        weight = getattr(measurement.value, "weight", 1)
        if weight == 1:
            super().aggregate(measurement, should_sample_exemplar)
            return
        mean = float(measurement.value)  # what is kept of it, as an exemplar say, is a plain number
        super().aggregate(replace(measurement, value=mean), should_sample_exemplar)
        with self._lock:
            if self._value is None:  # collected in this instant: the rest belongs to the next point
                self._value = self._get_empty_bucket_counts()
            self._value[bisect_left(self._boundaries, mean)] += weight - 1
            self._sum += mean * (weight - 1)
