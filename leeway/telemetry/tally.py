"""Instruments that count by themselves, and tell the SDK when it collects.

For each measurement the SDK copies and checks attributes, makes a key of them and asks for an exemplar: some twenty
microseconds, ten times a request. Here a measurement is a few additions, and the SDK is told a bucket at a time what
came since it asked last. What it exports is the same: counts, sums, extremes, and a bucket's last sampled measurement
(of those that came at once the largest) as its exemplar.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from threading import Lock
from time import time_ns

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation, UpDownCounter
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import Attributes, AttributeValue

from leeway.telemetry.names import ERROR_TYPE, Metric
from leeway.telemetry.weighted import Weighted


class PreAggregatedHistogram(Histogram):
    """A histogram that tells the SDK one `Weighted` for each bucket, with the attributes of its `Metric` only."""

    def __init__(self, meter: Meter, metric: Metric) -> None:
        self._told = meter.create_histogram(metric.name, metric.unit, metric.description)
        self._keys = tuple(dict.fromkeys((*metric.attributes, ERROR_TYPE)))
        self._bounds = metric.buckets
        self._lock = Lock()
        self._series: dict[tuple[AttributeValue | None, ...], dict[int, _Bucket]] = {}
        # Callbacks run before histograms are read. This one observes nothing, so nothing of this name is exported.
        meter.create_observable_gauge(f"{metric.name}.tally", [self._tell])

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Count one measurement; `context` is the current one where none is given."""
        self.record_all((amount,), attributes, context)

    def record_all(
        self, amounts: Iterable[float], attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Count measurements that have the same attributes."""
        context = get_current() if context is None else context
        is_sampled = get_current_span(context).get_span_context().trace_flags.sampled
        measured = []
        for amount in amounts:
            if 0 <= amount <= sys.float_info.max:
                measured.append(amount)
            else:
                self._told.record(amount, attributes, context)  # the SDK says what is wrong with it
        measured.sort()
        given = attributes or {}
        key = tuple([given.get(name) for name in self._keys])
        with self._lock:
            buckets = self._series.setdefault(key, {})
            start = 0
            while start < len(measured):
                place = bisect_left(self._bounds, measured[start])
                end = bisect_right(measured, self._bounds[place]) if place < len(self._bounds) else len(measured)
                if place not in buckets:
                    buckets[place] = _Bucket()
                buckets[place].add(measured[start:end], context, is_sampled=is_sampled)
                start = end

    def _tell(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            series, self._series = self._series, {}
        for key, buckets in series.items():
            attributes = {name: value for name, value in zip(self._keys, key, strict=True) if value is not None}
            for bucket in buckets.values():
                self._told.record(bucket.weighted(), attributes, bucket.context)
        return ()


class _Bucket:
    """What fell into one bucket since the SDK asked last, and the measurement to show for it."""

    __slots__ = ("at_ns", "context", "count", "high", "is_sampled", "low", "shown", "total")

    def __init__(self) -> None:
        self.count, self.total, self.low, self.high = 0, 0.0, float("inf"), -float("inf")
        self.shown, self.at_ns, self.context, self.is_sampled = 0.0, 0, Context(), False

    def add(self, amounts: Sequence[float], context: Context, *, is_sampled: bool) -> None:
        """Count at least one, ascending; show the last one whose trace is kept, or the last one at all."""
        self.count += len(amounts)
        self.total += sum(amounts)
        self.low, self.high = min(self.low, amounts[0]), max(self.high, amounts[-1])
        if is_sampled or not self.is_sampled:
            self.shown, self.at_ns, self.context, self.is_sampled = amounts[-1], time_ns(), context, is_sampled

    def weighted(self) -> Weighted:
        """All of them as one."""
        return Weighted(self.shown, self.count, float(self.total), (float(self.low), float(self.high)), self.at_ns)


class TalliedSum(UpDownCounter):
    """A counter, or a gauge that is counted up and down; read when the SDK collects, so it has no exemplars."""

    def __init__(self, meter: Meter, metric: Metric) -> None:
        self._keys = metric.attributes
        self._lock = Lock()
        self._values: dict[tuple[AttributeValue | None, ...], float] = {} if metric.attributes else {(): 0}
        is_counter = metric.kind == "counter"
        create = meter.create_observable_counter if is_counter else meter.create_observable_up_down_counter
        create(metric.name, [self._observe], metric.unit, metric.description)

    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Count up, or down."""
        del context  # see above
        given = attributes or {}
        key = tuple([given.get(name) for name in self._keys])
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            values = dict(self._values)
        return [Observation(value, dict(zip(self._keys, key, strict=True))) for key, value in values.items()]
