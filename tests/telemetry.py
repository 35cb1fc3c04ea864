"""Telemetry in memory: the real providers with exporters and readers that tests can query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, MetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, format_span_id, format_trace_id

from leeway.telemetry import names
from leeway.telemetry.exporters import MetricsText
from leeway.telemetry.providers import ProcessIdentity, Providers, build_providers

IDENTITY = ProcessIdentity("leeway-service", "1.2.3", "test-1")


class Measured:
    """One collection of all instruments."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self.metrics = {metric.name: metric for metric in found}
        assert len(found) == len(self.metrics), sorted(metric.name for metric in found)

    def points(self, metric: names.Metric, attributes: dict[str, Any] | None = None) -> list[Any]:
        """The series of `metric` whose attributes include `attributes`."""
        if metric.name not in self.metrics:
            return []
        wanted, points = (attributes or {}).items(), self.metrics[metric.name].data.data_points
        return [point for point in points if wanted <= (point.attributes or {}).items()]

    def total(self, metric: names.Metric, attributes: dict[str, Any] | None = None) -> float:
        """The sum of a counter's or gauge's values, or of a histogram's counts, over these series."""
        points = self.points(metric, attributes)
        return float(sum(point.count if hasattr(point, "bucket_counts") else point.value for point in points))

    def exemplars(self, metric: names.Metric) -> list[Exemplar]:
        """The exemplars of all series of `metric`."""
        return [exemplar for point in self.points(metric) for exemplar in point.exemplars]

    def series(self) -> set[tuple[str, tuple[tuple[str, Any], ...]]]:
        """Every series: the metric's name and its attributes."""
        return {
            (name, tuple(sorted((point.attributes or {}).items())))
            for name, metric in self.metrics.items()
            for point in metric.data.data_points
        }

    def to_json(self) -> str:
        """All of it as text, exemplars included."""
        return "\n".join(metric.to_json() for metric in self.metrics.values())


@dataclass(frozen=True)
class Change:
    """What was added to one series of a histogram (`count`, `sum`) or a counter (both)."""

    attributes: dict[str, Any]
    count: float
    sum: float


@dataclass(frozen=True)
class Changes:
    """What an action added to the instruments: two collections, before and after it."""

    before: Measured
    after: Measured

    def points(self, metric: names.Metric, attributes: dict[str, Any] | None = None) -> list[Change]:
        """The series of `metric` that changed and whose attributes include `attributes`."""
        before = {_key(point): _amounts(point) for point in self.before.points(metric)}
        changes = []
        for point in self.after.points(metric, attributes):
            old, new = before.get(_key(point), (0, 0)), _amounts(point)
            if new != old:
                changes.append(Change(dict(point.attributes), new[0] - old[0], new[1] - old[1]))
        return changes

    def total(self, metric: names.Metric, attributes: dict[str, Any] | None = None) -> float:
        """How much was added over these series."""
        return sum(point.count for point in self.points(metric, attributes))

    def exemplars(self, metric: names.Metric) -> list[Exemplar]:
        """The exemplars of all series of `metric` since the first collection."""
        return self.after.exemplars(metric)


def _key(point: Any) -> tuple[tuple[str, Any], ...]:  # noqa: ANN401 (the SDK has a type for each kind)
    return tuple(sorted((point.attributes or {}).items()))


def _amounts(point: Any) -> tuple[float, float]:  # noqa: ANN401 (as above)
    return (point.count, point.sum) if hasattr(point, "bucket_counts") else (point.value, point.value)


@dataclass(frozen=True)
class Telemetry:
    """The providers, and what they exported."""

    providers: Providers
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """The finished spans, oldest first; of that name, if one is given."""
        return [span for span in self.exporter.get_finished_spans() if name in {None, span.name}]

    def server_spans(self) -> list[ReadableSpan]:
        """The finished spans of requests."""
        return [span for span in self.spans() if span.kind is SpanKind.SERVER]

    def server_span(self) -> ReadableSpan:
        """The one request's span."""
        (span,) = self.server_spans()
        return span

    def spans_json(self) -> str:
        """All spans as text."""
        return "\n".join(span.to_json(indent=None) for span in self.spans())

    def collect(self) -> Measured:
        """Collect every instrument. An exemplar is in one collection only."""
        data = self.reader.get_metrics_data()
        return Measured(
            [
                metric
                for resource in (data.resource_metrics if data else ())
                for scope in resource.scope_metrics
                for metric in scope.metrics
            ]
        )

    def forget_spans(self) -> None:
        """Forget all spans so far."""
        self.exporter.clear()


@contextmanager
def telemetry_in_memory(
    identity: ProcessIdentity = IDENTITY,
    *,
    more_readers: Sequence[MetricReader] = (),
    metrics_text: MetricsText | None = None,
) -> Iterator[Telemetry]:
    """Yield the providers of production over an exporter and a reader in memory."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    processors = [SimpleSpanProcessor(exporter)]
    with build_providers(identity, processors, [reader, *more_readers], metrics_text) as providers:
        yield Telemetry(providers, exporter, reader)


def context_of(span: ReadableSpan) -> SpanContext:
    """The span's own ids; every finished span has them."""
    context = span.get_span_context()
    assert context is not None
    return context


def trace_id(span: ReadableSpan) -> str:
    """32 hex digits."""
    return format_trace_id(context_of(span).trace_id)


def span_id(span: ReadableSpan) -> str:
    """16 hex digits."""
    return format_span_id(context_of(span).span_id)


def parent_id(span: ReadableSpan) -> str | None:
    """16 hex digits of the span above; None for a root."""
    return None if span.parent is None else format_span_id(span.parent.span_id)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The span's attributes as plain JSON would hold them."""
    return dict(json.loads(span.to_json())["attributes"])
