from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from leeway.telemetry.providers import build_providers
from leeway.telemetry.span_buffer import CAPACITY, EncodedSpanExporter, OtlpSpanProcessor, SpanBuffer, is_supported
from leeway.telemetry.span_encoding import EncodedSpans
from leeway.telemetry.span_records import SpanRecord, SpanShape
from tests.telemetry import IDENTITY

SHAPE = SpanShape("score", SpanKind.INTERNAL, InstrumentationScope("leeway"), common_keys=["number"])


def spans_of(number: int) -> list[SpanRecord]:
    """The one span of a number."""
    return [SpanRecord(SHAPE, bytes(15) + b"1", (number + 1).to_bytes(8, "big"), None, 1, 2, (), (number,))]


class Encoded(EncodedSpanExporter):
    """Keeps the names of encoded spans; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.failures = failures

    def export(self, spans: object) -> SpanExportResult:
        """The SDK's own spans: there are none."""
        raise AssertionError(spans)

    def export_encoded(self, spans: EncodedSpans) -> SpanExportResult:
        """Keep the names."""
        if self.failures:
            self.failures -= 1
            raise OSError("unreachable")
        before = len(self.names)
        for each in ExportTraceServiceRequest.FromString(spans.request).resource_spans:
            self.names += [span.name for scope in each.scope_spans for span in scope.spans]
        assert spans.count == len(self.names) - before
        self.counts.append(spans.count)
        return SpanExportResult.SUCCESS


class Watching(SpanProcessor):
    """A processor that needs to see spans when they start."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        """Do nothing."""


class WatchingBatches(BatchSpanProcessor):
    """Another one."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        """Do nothing."""


@contextmanager
def buffer_over(*processors: SpanProcessor) -> Iterator[tuple[SpanBuffer, TracerProvider]]:
    """Yield the buffer of providers with these processors."""
    with build_providers(IDENTITY, processors, []) as providers:
        assert providers.span_buffer is not None
        assert isinstance(providers.tracer_provider, TracerProvider)
        yield providers.span_buffer, providers.tracer_provider


def test_a_flush_of_the_provider_empties_the_buffer() -> None:
    """`force_flush` hands everything on: encoded spans to OTLP, the SDK's type to another exporter."""
    encoded, kept = Encoded(), InMemorySpanExporter()
    with buffer_over(OtlpSpanProcessor(encoded), SimpleSpanProcessor(kept)) as (buffer, provider):
        buffer.add(spans_of, range(3), spans=3)
        provider.force_flush()
        found = [(span.name, dict(span.attributes or {})["number"]) for span in kept.get_finished_spans()]
    assert (encoded.names, found) == (["score"] * 3, [("score", 0), ("score", 1), ("score", 2)])


def test_nothing_is_lost_at_the_end() -> None:
    """The shutdown of the providers sends what waits."""
    encoded = Encoded()
    with buffer_over(OtlpSpanProcessor(encoded)) as (buffer, _):
        buffer.add(spans_of, range(100), spans=100)
    assert len(encoded.names) == 100


def test_what_comes_during_the_last_export_is_sent() -> None:
    """Spans that are added while the thread makes its last export do not stay behind."""
    encoded = Encoded()
    with buffer_over(OtlpSpanProcessor(encoded)) as (buffer, _):

        def adding(number: int) -> list[SpanRecord]:
            buffer.add(spans_of, range(2), spans=2)
            buffer._stopping = True  # as a shutdown that begins now
            return spans_of(number)

        buffer.add(adding, [0], spans=1)
        buffer._wake.set()
        assert buffer._thread is not None
        buffer._thread.join()
        buffer._waiting.append((spans_of, range(3), 3))
    assert len(encoded.names) == 6


def test_an_object_without_spans_does_not_take_others_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """One that fails is logged and counted; those after it are sent."""
    encoded, dropped = Encoded(), list[int]()
    processor = OtlpSpanProcessor(encoded)
    processor.on_drop = dropped.append

    def failing(number: int) -> list[SpanRecord]:
        if number == 1:
            raise ValueError("no trace")
        return spans_of(number)

    with buffer_over(processor) as (buffer, _):
        buffer.add(failing, range(4), spans=4)
    assert (len(encoded.names), dropped) == (3, [1])
    assert "spans could not be made" in caplog.text


def test_what_does_not_fit_is_counted() -> None:
    """A full buffer drops new work, and reports how many spans; what it holds is sent."""
    encoded, dropped = Encoded(), list[int]()
    processor = OtlpSpanProcessor(encoded)
    processor.on_drop = dropped.append
    with buffer_over(processor) as (buffer, _), buffer._draining:
        buffer.add(spans_of, range(3), spans=CAPACITY)
        buffer.add(spans_of, range(5), spans=5)
    assert (len(encoded.names), dropped) == (3, [5])


def test_the_settings_of_batches_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_BSP_MAX_QUEUE_SIZE` bounds what waits, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` what is sent at once."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    encoded, dropped = Encoded(), list[int]()
    processor = OtlpSpanProcessor(encoded)
    processor.on_drop = dropped.append
    with buffer_over(processor) as (buffer, _), buffer._draining:
        for _ in range(3):
            buffer.add(spans_of, range(5), spans=5)
    assert (encoded.counts, dropped) == ([4, 4, 2], [5])


def test_a_failed_export_costs_only_its_own_spans() -> None:
    """The thread survives an exporter that raises."""
    encoded = Encoded(failures=1)
    with buffer_over(OtlpSpanProcessor(encoded)) as (buffer, provider):
        for _ in range(2):
            buffer.add(spans_of, range(3), spans=3)
            provider.force_flush()
    assert len(encoded.names) == 3


def test_without_a_processor_nothing_is_kept() -> None:
    """Where no spans are exported, no thread starts and nothing waits."""
    with buffer_over() as (buffer, _):
        buffer.add(spans_of, range(3), spans=3)
        assert (len(buffer._waiting), buffer._thread) == (0, None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(BatchSpanProcessor, True), (SimpleSpanProcessor, True), (WatchingBatches, False), (Watching, False)],
)
def test_a_processor_that_sees_spans_start_needs_the_sdk(kind: type[SpanProcessor], *, expected: bool) -> None:
    """Then the providers have no buffer, and spans are made as they begin."""
    processor = kind() if kind is Watching else kind(InMemorySpanExporter())  # type: ignore[call-arg]
    assert is_supported(processor) is expected
    with build_providers(IDENTITY, [processor], []) as providers:
        assert (providers.span_buffer is not None) is expected


@pytest.mark.parametrize("variable", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
def test_a_limit_of_the_environment_needs_the_sdk(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The SDK applies limits of attributes; the buffer would not."""
    monkeypatch.setenv(variable, "5")
    with build_providers(IDENTITY, [], []) as providers:
        assert providers.span_buffer is None


class Counting(SpanExporter):
    """Counts exported spans."""

    count = 0

    def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:  # type: ignore[override]
        """Count them."""
        self.count += len(spans)
        return SpanExportResult.SUCCESS


def test_spans_of_the_sdk_go_to_the_processors_only_once() -> None:
    """The buffer ignores spans that the SDK makes itself."""
    counting = Counting()
    with buffer_over(SimpleSpanProcessor(counting)) as (_, provider):
        provider.get_tracer("leeway").start_span("drift run").end()
    assert counting.count == 1
