"""Instruments that aggregate measurements themselves and hand them to the SDK at collection.

For each measurement the SDK copies and checks attributes, builds a key and samples an exemplar: about twenty
microseconds, ten times per request. Here a measurement is a few additions, and the SDK gets one measurement per bucket.
It exports the same: counts, sums, extremes, and as exemplar a bucket's last sampled measurement (of those recorded at
once, the largest).
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from threading import Lock
from time import time_ns
from typing import TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation, UpDownCounter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context
from opentelemetry.util.types import Attributes, AttributeValue

from leeway.telemetry.names import ERROR_TYPE, Metric
from leeway.telemetry.weighted import Weighted

SampledSpan: TypeAlias = tuple[int, int]
"""The ids of a sampled trace and span, for an exemplar."""


def context_of(trace_id: int, span_id: int, *, is_sampled: bool) -> Context:
    """A context in which nothing is recorded but measurements, with this span as their exemplar."""
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags))
    return set_span_in_context(span, Context())


class PreAggregatedHistogram(Histogram):
    """Pre-aggregates measurements per bucket, with the attributes of its `Metric` only, as one `Weighted` each."""

    def __init__(self, meter: Meter, metric: Metric) -> None:
        self._sdk_histogram = meter.create_histogram(metric.name, metric.unit, metric.description)
        self._keys = tuple(dict.fromkeys((*metric.attributes, ERROR_TYPE)))
        self._bounds = metric.buckets
        self._lock = Lock()
        self._series: dict[tuple[AttributeValue | None, ...], Series] = {}
        # Callbacks run before histograms are read. This one observes nothing, so it is not exported.
        meter.create_observable_gauge(f"{metric.name}.tally", [self._hand_over])

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Record one measurement; `context` defaults to the current one."""
        self.record_all((amount,), attributes, context)

    def record_all(
        self, amounts: Iterable[float], attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Record measurements with the same attributes."""
        context = get_current() if context is None else context
        is_sampled = get_current_span(context).get_span_context().trace_flags.sampled
        measured = []
        for amount in amounts:
            if 0 <= amount <= sys.float_info.max:
                measured.append(amount)
            else:
                self._sdk_histogram.record(amount, attributes, context)  # the SDK logs what is wrong with it
        measured.sort()
        series = self.series(attributes)
        with self._lock:
            buckets = series.buckets
            start = 0
            while start < len(measured):
                place = bisect_left(self._bounds, measured[start])
                end = bisect_right(measured, self._bounds[place]) if place < len(self._bounds) else len(measured)
                if place not in buckets:
                    buckets[place] = _Bucket()
                buckets[place].add(measured[start:end], context, is_sampled=is_sampled)
                start = end

    def series(self, attributes: Attributes = None) -> Series:
        """The series of these attributes, to be passed to `record_each`."""
        given = attributes or {}
        key = tuple([given.get(name) for name in self._keys])
        with self._lock:
            return self._series.setdefault(key, Series())

    def record_each(self, measured: Iterable[tuple[Series, float, SampledSpan | None]], at_ns: int) -> None:
        """Record finite, non-negative measurements at `at_ns` (Unix time), each with its series and its span."""
        bounds = self._bounds
        with self._lock:
            for series, amount, span in measured:
                place = bisect_left(bounds, amount)
                bucket = series.buckets.get(place)
                if bucket is None:
                    bucket = series.buckets[place] = _Bucket()
                bucket.count += 1
                bucket.total += amount
                if amount < bucket.low:  # noqa: PLR1730 (a comparison takes a fifth of the time of a call of min)
                    bucket.low = amount
                if amount > bucket.high:  # noqa: PLR1730 (as above)
                    bucket.high = amount
                if span is not None or not bucket.is_sampled:
                    bucket.shown, bucket.at_ns, bucket.context, bucket.is_sampled = (
                        amount,
                        at_ns,
                        span,
                        span is not None,
                    )

    def _hand_over(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            taken = [(key, series.take()) for key, series in self._series.items()]
        for key, buckets in taken:
            attributes = {name: value for name, value in zip(self._keys, key, strict=True) if value is not None}
            for bucket in buckets.values():
                self._sdk_histogram.record(bucket.weighted(), attributes, bucket.sdk_context())
        return ()


class Series:
    """The measurements with one set of attributes since the last collection; the histogram's lock guards it."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets: dict[int, _Bucket] = {}

    def take(self) -> dict[int, _Bucket]:
        """Return the buckets and start again without any."""
        buckets, self.buckets = self.buckets, {}
        return buckets


class _Bucket:
    """The measurements of one bucket since the last collection, and the one to use as exemplar."""

    __slots__ = ("at_ns", "context", "count", "high", "is_sampled", "low", "shown", "total")

    def __init__(self) -> None:
        self.count, self.total, self.low, self.high = 0, 0.0, float("inf"), -float("inf")
        self.shown, self.at_ns, self.is_sampled = 0.0, 0, False
        self.context: Context | SampledSpan | None = None

    def add(self, amounts: Sequence[float], context: Context, *, is_sampled: bool) -> None:
        """Add at least one, ascending; the exemplar is the last one with a sampled trace, or else the last one."""
        self.count += len(amounts)
        self.total += sum(amounts)
        self.low, self.high = min(self.low, amounts[0]), max(self.high, amounts[-1])
        if is_sampled or not self.is_sampled:
            self.shown, self.at_ns, self.context, self.is_sampled = amounts[-1], time_ns(), context, is_sampled

    def weighted(self) -> Weighted:
        """All of them as one measurement."""
        return Weighted(self.shown, self.count, float(self.total), (float(self.low), float(self.high)), self.at_ns)

    def sdk_context(self) -> Context:
        """The context with the exemplar's span."""
        if isinstance(self.context, Context):
            return self.context
        if self.context is None:
            return Context()
        return context_of(*self.context, is_sampled=True)


class TalliedSum(UpDownCounter):
    """A counter, or a gauge that counts up and down. It is read at collection, so it has no exemplars."""

    def __init__(self, meter: Meter, metric: Metric) -> None:
        self._keys = metric.attributes
        self._lock = Lock()
        self._values: dict[tuple[AttributeValue | None, ...], float] = {} if metric.attributes else {(): 0}
        self._cells: list[tuple[tuple[AttributeValue | None, ...], Cell]] = []
        is_counter = metric.kind == "counter"
        create = meter.create_observable_counter if is_counter else meter.create_observable_up_down_counter
        create(metric.name, [self._observe], metric.unit, metric.description)

    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Add to the sum; a negative amount counts down."""
        del context  # no exemplars
        given = attributes or {}
        key = tuple([given.get(name) for name in self._keys])
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def cell(self, attributes: Attributes = None) -> Cell:
        """A part of the sum that one thread counts by itself."""
        given, cell = attributes or {}, Cell()
        self._cells.append((tuple([given.get(name) for name in self._keys]), cell))
        return cell

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            values = dict(self._values)
        for key, cell in self._cells:
            values[key] = values.get(key, 0) + cell.amount
        return [Observation(value, dict(zip(self._keys, key, strict=True))) for key, value in values.items()]


class Cell:
    """A part of a `TalliedSum`; only one thread changes its `amount`."""

    __slots__ = ("amount",)

    def __init__(self) -> None:
        self.amount = 0
