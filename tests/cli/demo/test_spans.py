from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind

from cli.demo.spans import SERVER, Spans, read_spans
from leeway.telemetry import names
from leeway.telemetry.exporters import SpansFileExporter
from tests.cli.demo.example_run import a_slow_trace, a_span, at
from tests.drift.documents import TRACE


def test_spans_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A trace written by the SDK is read with its tree, attributes and links; an incomplete line is skipped."""
    file = tmp_path / "spans.jsonl"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SpansFileExporter(file)))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("before") as before:
        pass
    link = Link(before.get_span_context(), {names.PREDICTION_ID: "p1"})
    with (
        tracer.start_as_current_span("POST /predict", kind=SpanKind.SERVER, attributes={"x": 1}, links=[link]) as root,
        tracer.start_as_current_span("score"),
    ):
        pass
    provider.shutdown()
    with file.open("a") as spans:
        spans.write('{"name": "ha')
    outer, inner = read_spans(file).trace(f"{root.get_span_context().trace_id:032x}")
    assert (outer.name, outer.kind, outer.attributes, inner.name) == ("POST /predict", SERVER, {"x": 1}, "score")
    assert inner.parent_id == outer.context.span_id
    assert 0 <= inner.lasted_ms <= outer.lasted_ms
    assert outer.links[0].context.trace_id == f"{before.get_span_context().trace_id:032x}"
    assert outer.links[0].attributes == {names.PREDICTION_ID: "p1"}


def test_a_missing_file_has_no_spans(tmp_path: Path) -> None:
    """Without a file there are no spans, and no error."""
    assert read_spans(tmp_path / "none").trace(TRACE) == []


def test_children_follow_their_parents() -> None:
    """A trace is in the order of its tree, whatever the order in the file."""
    spans = [
        a_span("grandchild", "4", "2", start_ms=3),
        a_span("late", "3", "1", start_ms=5),
        a_span("early", "2", "1", start_ms=1),
        a_span("root", "1"),
    ]
    assert [span.name for span in Spans(spans).trace(TRACE)] == ["root", "early", "grandchild", "late"]


def test_a_slow_request_is_one_that_the_fault_affected() -> None:
    """A request that the fault affected is chosen, even if another was as slow as p95."""
    other = a_span(
        "POST /predict", "f1", trace_id="f" * 32, ms=95, kind=SERVER, attributes={names.HTTP_ROUTE: "/predict"}
    )
    assert Spans([other, *a_slow_trace()]).slow_one(at(30), at(40), 95.0) == a_slow_trace()


@pytest.mark.parametrize(("near_ms", "expected"), [(10.0, "1" * 32), (90.0, "9" * 32)])
def test_without_faults_the_one_nearest_to_p95_is_slow(near_ms: float, expected: str) -> None:
    """Without a fault, the request nearest to the given latency is chosen, no batches and no other acts."""
    spans = [
        a_span("POST", str(number), trace_id=f"{number}" * 32, ms=ms, start_ms=start_ms, kind=SERVER,
               attributes={names.HTTP_ROUTE: route})
        for number, ms, route, start_ms in (
            (1, 9, "/predict", 0), (9, 80, "/predict", 0), (5, 90, "/predict/batch", 0), (6, 90, "/predict", 60_000),
        )
    ]  # fmt: skip
    assert Spans(spans).slow_one(at(30), at(40), near_ms)[0].context.trace_id == expected


def test_without_requests_there_is_no_trace() -> None:
    """If nothing was answered in that time, the trace is empty."""
    assert Spans(a_slow_trace()).slow_one(at(50), at(60), 90.0) == []
