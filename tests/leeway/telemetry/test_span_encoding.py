"""What comes into a span by whatever way costs that one value at most, never the batch that it is sent with."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from leeway.telemetry.span_encoding import encode

REMOTE = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
TRACED = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))


def recorded(make: Callable[[Tracer], None], *scopes: str) -> Sequence[ReadableSpan]:
    """The spans that `make` creates with a tracer of each scope."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "test"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for scope in scopes or ("test",):
        make(provider.get_tracer(scope, "1.2", "https://example.org/schema"))
    return exporter.get_finished_spans()


def scopes(request: ExportTraceServiceRequest) -> list[ScopeSpans]:
    """The spans of each scope, in the order of scopes."""
    found = [scope for each in request.resource_spans for scope in each.scope_spans]
    return sorted(found, key=lambda scope: scope.scope.name)


def assert_as_the_sdk(spans: Sequence[ReadableSpan]) -> None:
    """Our encoding decodes to the same message as the SDK's."""
    ours, theirs = ExportTraceServiceRequest.FromString(encode(spans)), encode_spans(spans)
    assert {each.resource.SerializeToString() for each in ours.resource_spans} == {
        each.resource.SerializeToString() for each in theirs.resource_spans
    }
    assert scopes(ours) == scopes(theirs)


@pytest.mark.parametrize("value", ["text", "Umlaut ü", "x" * 300, 1, True, 0, False, -5, 0.5, 1.0, (), ("a", "b")])
def test_an_attribute_is_encoded_as_the_sdk_does(value: Any) -> None:  # noqa: ANN401 (any value of an attribute)
    """Each kind of value is kept: 1, 1.0 and True are different, whichever came first."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", attributes={"key": value}).end()))


@pytest.mark.parametrize("value", [b"bytes", {"nested": 1}, None])
def test_the_sdk_encodes_other_values(value: Any) -> None:  # noqa: ANN401 (as above)
    """No attribute of an unexpected type is lost."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", attributes={"key": value}).end()))


@pytest.mark.parametrize("kind", list(SpanKind))
def test_every_kind_of_span_is_encoded(kind: SpanKind) -> None:
    """A server span stays one."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", kind=kind).end()))


@pytest.mark.parametrize("parent", [REMOTE, TRACED], ids=["remote", "with state"])
def test_a_remote_parent_is_encoded(parent: SpanContext) -> None:
    """The parent, its remote flag and its trace state are kept."""
    context = set_span_in_context(NonRecordingSpan(parent))
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", context).end()))


def test_a_child_names_its_parent() -> None:
    """The spans of a trace stay a tree."""

    def make(tracer: Tracer) -> None:
        with tracer.start_as_current_span("request"), tracer.start_as_current_span("score"):
            pass

    assert_as_the_sdk(recorded(make))


def test_events_links_and_status_are_encoded() -> None:
    """The SDK encodes these rare parts."""

    def make(tracer: Tracer) -> None:
        span = tracer.start_span("work", links=[Link(REMOTE, {"why": "drift"})])
        span.add_event("exception", {"exception.type": "ValueError"})
        span.set_status(Status(StatusCode.ERROR, "broken"))
        span.end()

    assert_as_the_sdk(recorded(make))


def test_each_scope_has_its_own_spans() -> None:
    """A batch with many spans of two scopes keeps them apart."""

    def make(tracer: Tracer) -> None:
        for place in range(200):
            tracer.start_span("work", attributes={"place": place, "same": "as ever"}).end()

    assert_as_the_sdk(recorded(make, "ours", "theirs"))


HALF = "half a pair: \ud800"
NO_VALUES = {"half a pair": HALF, "beyond 64 bits": 2**70, "below 64 bits": -(2**63) - 1, "in a list": ("fine", HALF)}


def sent(hostile: Callable[[Span], object], *, first: bool = False) -> dict[str, OtlpSpan]:
    """The decoded spans, by name, of three spans with one hostile: the second one, or the first."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for place, name in enumerate(("one", "two", "three")):
        span = provider.get_tracer("test").start_span(name, attributes={"kept": "yes"})
        if place == (0 if first else 1):
            hostile(span)
        span.end()
    request = ExportTraceServiceRequest.FromString(encode(exporter.get_finished_spans()))
    return {span.name: span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans}


def attributes(span: OtlpSpan) -> set[str]:
    """The names of the span's attributes."""
    return {each.key for each in span.attributes}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK logs each value that it drops."""
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("value", NO_VALUES.values(), ids=NO_VALUES)
def test_a_value_that_cannot_be_encoded_is_dropped(value: Any, *, first: bool) -> None:  # noqa: ANN401 (any value)
    """Invalid Unicode and numbers beyond 64 bits are dropped; their span and the others are kept."""
    found = sent(lambda span: span.set_attribute("hostile", value), first=first)
    assert sorted(found) == ["one", "three", "two"]
    assert [attributes(span) for span in found.values()] == [{"kept"}] * 3


def test_a_failed_span_keeps_its_other_values() -> None:
    """A span that the SDK encodes, because of its status, loses only that value."""

    def fail(span: Span) -> None:
        span.set_attribute("hostile", HALF)
        span.set_status(Status(StatusCode.ERROR, "broken"))

    found = sent(fail)
    assert (found["two"].status.message, attributes(found["two"])) == ("broken", {"kept"})


@pytest.mark.parametrize("first", [True, False])
def test_an_invalid_status_is_escaped(*, first: bool) -> None:
    """A lone surrogate in a status is escaped; the batch is kept."""
    found = sent(lambda span: span.set_status(Status(StatusCode.ERROR, HALF)), first=first)
    said = [span.status.message for span in found.values() if span.status.message]
    assert (sorted(found), said) == (["one", "three", "two"], [r"half a pair: \ud800"])


def test_an_invalid_name_of_an_event_is_escaped() -> None:
    """Attributes and times are kept."""

    def rename(span: Span) -> None:
        span.update_name(HALF)
        span.add_event(HALF, {"why": "test"}, timestamp=123)

    found = sent(rename)[r"half a pair: \ud800"]
    (event,) = found.events
    assert (event.name, event.time_unix_nano, event.attributes[0].key) == (found.name, 123, "why")
    assert attributes(found) == {"kept"}


def test_an_invalid_name_of_a_span_is_escaped() -> None:
    """This also applies to a span that we encode ourselves."""
    assert r"half a pair: \ud800" in sent(lambda span: span.update_name(HALF))


def test_long_texts_are_not_cached() -> None:
    """150 different texts of 20 kB leave less than 1 MiB in memory."""
    sent(lambda span: span.set_attribute("agent", "warm"))
    tracemalloc.start()
    try:
        for number in range(150):
            sent(lambda span, number=number: span.set_attribute("agent", f"{number:03}" * 7_000))  # type: ignore[misc]
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 2**20
