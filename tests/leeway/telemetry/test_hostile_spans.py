"""What comes into a span by whatever way costs that one value at most, never the batch that it is sent with."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Status, StatusCode

from leeway.telemetry.span_encoding import encode

HALF = "half a pair: \ud800"
NO_VALUES = {"half a pair": HALF, "beyond 64 bits": 2**70, "below 64 bits": -(2**63) - 1, "in a list": ("fine", HALF)}


def sent(hostile: Callable[[Span], object], *, first: bool = False) -> dict[str, OtlpSpan]:
    """What arrives, by name, of three spans of which one was made hostile: the second one, or the first."""
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
    """The SDK tells its log of each value that it leaves out."""
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("value", NO_VALUES.values(), ids=NO_VALUES)
def test_a_value_without_a_form_costs_itself_alone(value: Any, *, first: bool) -> None:  # noqa: ANN401 (any value)
    """Text that is no Unicode and numbers beyond 64 bits are left out; their span and its neighbours arrive."""
    found = sent(lambda span: span.set_attribute("hostile", value), first=first)
    assert sorted(found) == ["one", "three", "two"]
    assert [attributes(span) for span in found.values()] == [{"kept"}] * 3


def test_a_value_without_a_form_costs_a_failed_span_nothing_else() -> None:
    """A span that goes the SDK's way, for its status, loses that one value as well."""

    def fail(span: Span) -> None:
        span.set_attribute("hostile", HALF)
        span.set_status(Status(StatusCode.ERROR, "broken"))

    found = sent(fail)
    assert (found["two"].status.message, attributes(found["two"])) == ("broken", {"kept"})


@pytest.mark.parametrize("first", [True, False])
def test_an_errors_own_words_cost_no_batch(*, first: bool) -> None:
    """A status that quotes half a surrogate pair arrives with it spelt out, and everything round it arrives too."""
    found = sent(lambda span: span.set_status(Status(StatusCode.ERROR, HALF)), first=first)
    said = [span.status.message for span in found.values() if span.status.message]
    assert (sorted(found), said) == (["one", "three", "two"], [r"half a pair: \ud800"])


def test_an_event_or_a_span_of_such_a_name_arrives() -> None:
    """The name is spelt out; attributes and times stay."""

    def rename(span: Span) -> None:
        span.update_name(HALF)
        span.add_event(HALF, {"why": "test"}, timestamp=123)

    found = sent(rename)[r"half a pair: \ud800"]
    (event,) = found.events
    assert (event.name, event.time_unix_nano, event.attributes[0].key) == (found.name, 123, "why")
    assert attributes(found) == {"kept"}


def test_a_plain_span_of_such_a_name_arrives() -> None:
    """Without event or status it would have gone our own way."""
    assert r"half a pair: \ud800" in sent(lambda span: span.update_name(HALF))


def test_long_texts_are_not_remembered() -> None:
    """Five hundred texts of 20 kB, each another, leave next to nothing behind when they were sent."""
    sent(lambda span: span.set_attribute("agent", "warm"))
    tracemalloc.start()
    try:
        for number in range(500):
            sent(lambda span, number=number: span.set_attribute("agent", f"{number}" * 10_000))  # type: ignore[misc]
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 2**20
