from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
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
    """The spans that `make` makes with a tracer of each scope."""
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
    """What we encode is read as what the SDK encodes."""
    ours, theirs = ExportTraceServiceRequest.FromString(encode(spans)), encode_spans(spans)
    assert {each.resource.SerializeToString() for each in ours.resource_spans} == {
        each.resource.SerializeToString() for each in theirs.resource_spans
    }
    assert scopes(ours) == scopes(theirs)


@pytest.mark.parametrize("value", ["text", "Umlaut ü", "x" * 300, 1, True, 0, False, -5, 0.5, 1.0, (), ("a", "b")])
def test_an_attribute_is_encoded_as_the_sdk_does(value: Any) -> None:  # noqa: ANN401 (any value of an attribute)
    """Each kind of value arrives as itself: 1, 1.0 and True are three things, whichever came first."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", attributes={"key": value}).end()))


@pytest.mark.parametrize("value", [b"bytes", {"nested": 1}, None])
def test_a_kind_of_value_that_we_do_not_use_is_left_to_the_sdk(value: Any) -> None:  # noqa: ANN401 (as above)
    """No attribute is lost because we did not expect it."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", attributes={"key": value}).end()))


@pytest.mark.parametrize("kind", list(SpanKind))
def test_every_kind_of_span_is_told(kind: SpanKind) -> None:
    """A server's span arrives as one."""
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", kind=kind).end()))


@pytest.mark.parametrize("parent", [REMOTE, TRACED], ids=["remote", "with state"])
def test_a_trace_that_came_from_elsewhere_goes_on(parent: SpanContext) -> None:
    """The parent, that it is remote, and its state are kept."""
    context = set_span_in_context(NonRecordingSpan(parent))
    assert_as_the_sdk(recorded(lambda tracer: tracer.start_span("work", context).end()))


def test_a_child_names_its_parent() -> None:
    """A trace's spans stay a tree."""

    def make(tracer: Tracer) -> None:
        with tracer.start_as_current_span("request"), tracer.start_as_current_span("score"):
            pass

    assert_as_the_sdk(recorded(make))


def test_what_is_rare_is_kept() -> None:
    """Events, links and a status arrive."""

    def make(tracer: Tracer) -> None:
        span = tracer.start_span("work", links=[Link(REMOTE, {"why": "drift"})])
        span.add_event("exception", {"exception.type": "ValueError"})
        span.set_status(Status(StatusCode.ERROR, "broken"))
        span.end()

    assert_as_the_sdk(recorded(make))


def test_each_scope_has_its_own_spans() -> None:
    """A batch of many spans, ours and the instrumentation's, is told apart by who made them."""

    def make(tracer: Tracer) -> None:
        for place in range(200):
            tracer.start_span("work", attributes={"place": place, "same": "as ever"}).end()

    assert_as_the_sdk(recorded(make, "ours", "theirs"))
