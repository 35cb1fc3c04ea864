"""Instruments that aggregate measurements themselves and hand them to the SDK at collection.

For each measurement the SDK copies and checks attributes, builds a key and samples an exemplar: about twenty
microseconds, ten times per request. Here a measurement is a few additions, and the SDK gets one measurement per bucket.
It exports the same: counts, sums, extremes, and as exemplar a bucket's last sampled measurement (of those recorded at
once, the largest).
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from threading import Lock
from time import time_ns
from typing import Final, NamedTuple, TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation, UpDownCounter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context
from opentelemetry.util.types import Attributes, AttributeValue

from leeway.telemetry.names import ERROR_TYPE, Metric
from leeway.telemetry.weighted import Weighted

MAX_WAITING: Final = 256
"""So many measurements of a series wait until they are aggregated together."""
SampledSpan: TypeAlias = tuple[bytes, bytes]
"""The ids of a sampled trace and span, for an exemplar."""


def context_of(ids: SampledSpan, *, is_sampled: bool) -> Context:
    """A context in which nothing is recorded but measurements, with the span of these ids as their exemplar."""
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    trace_id, span_id = (int.from_bytes(each, "big") for each in ids)
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
            series.aggregate(self._bounds)
            for bucket, start, end in _by_bucket(measured, self._bounds):
                exemplar = Exemplar(measured[end - 1], time_ns(), context, is_sampled)
                series.bucket(bucket).add(measured[start:end], exemplar)

    def series(self, attributes: Attributes = None) -> Series:
        """The series of these attributes, to be passed to `record_each`."""
        given = attributes or {}
        key = tuple([given.get(name) for name in self._keys])
        with self._lock:
            return self._series.setdefault(key, Series())

    def record_each(
        self, series: Series, amounts: Iterable[float], spans: Iterable[SampledSpan | None], at_ns: int
    ) -> None:
        """Record finite, non-negative measurements of one series at `at_ns` (Unix time), each with its span."""
        with self._lock:
            series.amounts += amounts
            series.spans += spans
            count = len(series.amounts)
            series.times_ns += repeat(at_ns, count - len(series.times_ns))
            if count >= MAX_WAITING:
                series.aggregate(self._bounds)

    def _hand_over(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            taken = [(key, series.take(self._bounds)) for key, series in self._series.items()]
        for key, buckets in taken:
            attributes = {name: value for name, value in zip(self._keys, key, strict=True) if value is not None}
            for bucket in buckets.values():
                self._sdk_histogram.record(bucket.weighted(), attributes, bucket.exemplar.sdk_context())
        return ()


class Series:
    """The measurements with one set of attributes since the last collection; the histogram's lock guards it.

    Those of `record_each` wait in `amounts`, `spans` and `times_ns`, because many are sorted in little more time than
    one finds its bucket.
    """

    __slots__ = ("_buckets", "amounts", "spans", "times_ns")

    def __init__(self) -> None:
        self.amounts: list[float] = []
        self.spans: list[SampledSpan | None] = []
        self.times_ns: list[int] = []
        self._buckets: dict[int, _Bucket] = {}

    def bucket(self, place: int) -> _Bucket:
        """The bucket below the bound at this place."""
        return self._buckets.setdefault(place, _Bucket())

    def aggregate(self, bounds: Sequence[float]) -> None:
        """Move what waits to the buckets."""
        if not self.amounts:
            return
        places = sorted(range(len(self.amounts)), key=self.amounts.__getitem__)
        ordered = [self.amounts[place] for place in places]
        for bucket, start, end in _by_bucket(ordered, bounds):
            sampled = (place for place in reversed(places[start:end]) if self.spans[place] is not None)
            shown = next(sampled, places[end - 1])
            span = self.spans[shown]
            exemplar = Exemplar(self.amounts[shown], self.times_ns[shown], span, is_sampled=span is not None)
            self.bucket(bucket).add(ordered[start:end], exemplar)
        self.amounts, self.spans, self.times_ns = [], [], []

    def take(self, bounds: Sequence[float]) -> dict[int, _Bucket]:
        """Return the buckets and start again without any."""
        self.aggregate(bounds)
        buckets, self._buckets = self._buckets, {}
        return buckets


class Exemplar(NamedTuple):
    """A measurement to show, of the time `at_ns` (Unix time), and its context or its sampled span."""

    amount: float = 0.0
    at_ns: int = 0
    context: Context | SampledSpan | None = None
    is_sampled: bool = False

    def sdk_context(self) -> Context:
        """The context with the span."""
        if isinstance(self.context, Context):
            return self.context
        if self.context is None:
            return Context()
        return context_of(self.context, is_sampled=True)


class _Bucket:
    """The measurements of one bucket since the last collection, and the one to use as exemplar."""

    __slots__ = ("_count", "_high", "_low", "_total", "exemplar")

    def __init__(self) -> None:
        self._count, self._total, self._low, self._high = 0, 0.0, float("inf"), -float("inf")
        self.exemplar = Exemplar()

    def add(self, amounts: Sequence[float], exemplar: Exemplar) -> None:
        """Add at least one, ascending; the exemplar is the last one with a sampled trace, or else the last one."""
        self._count += len(amounts)
        self._total += sum(amounts)
        self._low, self._high = min(self._low, amounts[0]), max(self._high, amounts[-1])
        if exemplar.is_sampled or not self.exemplar.is_sampled:
            self.exemplar = exemplar

    def weighted(self) -> Weighted:
        """All of them as one measurement."""
        extremes = float(self._low), float(self._high)
        return Weighted(self.exemplar.amount, self._count, float(self._total), extremes, self.exemplar.at_ns)


def _by_bucket(ordered: Sequence[float], bounds: Sequence[float]) -> Iterator[tuple[int, int, int]]:
    """The place of each bucket that ascending measurements fall into, and where its own begin and end."""
    start = 0
    while start < len(ordered):
        place = bisect_left(bounds, ordered[start])
        end = bisect_right(ordered, bounds[place]) if place < len(bounds) else len(ordered)
        yield place, start, end
        start = end


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
