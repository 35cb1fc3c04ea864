"""Records of spans against the SDK: the same spans, as OTLP and as objects."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from leeway.telemetry.span_records import (
    CACHED_TEMPLATES,
    CommonValues,
    OwnValues,
    RecordEncoder,
    SharedAttributes,
    SpanRecord,
    SpanShape,
)

RESOURCE = Resource({"service.name": "leeway-service", "service.instance.id": "a"})
TRACE, SPAN, START = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1_900_000_000_000_000_001
LOCAL_PARENT = (5).to_bytes(8, "big")
SCOPE = InstrumentationScope("leeway", "1.0", "https://opentelemetry.io/schemas/1.21.0")
SHAPE = SpanShape(
    "POST /predict",
    SpanKind.SERVER,
    SCOPE,
    own_keys=("id", "score"),
    common_keys=["outcome", "recorded", "names"],
)
UUID = "01a20733-8e39-71aa-9fec-4c4f5f21ed60"
OWN: OwnValues = (UUID, 0.25)
COMMON: CommonValues = (1, True, ("a", "é"))


def remote(*, sampled: bool = True) -> SpanContext:
    """A caller's context."""
    return SpanContext(TRACE, 7, is_remote=True, trace_flags=TraceFlags(int(sampled)))


def record(
    parent: SpanContext | bytes | None = None,
    own: OwnValues = OWN,
    common: CommonValues = COMMON,
    shape: SpanShape = SHAPE,
    **options: object,
) -> SpanRecord:
    """A record of a span that took a millisecond."""
    ids = TRACE.to_bytes(16, "big"), SPAN.to_bytes(8, "big")
    return SpanRecord(shape, *ids, parent, START, START + 1_000_000, own, common, **options)  # type: ignore[arg-type]


def inner(common: CommonValues, shape: SpanShape) -> SpanRecord:
    """A record of a span without values of its own."""
    return record(own=(), common=common, shape=shape)


RECORDS = {
    "a root": record(),
    "below a remote span": record(remote()),
    "below a local span": record(LOCAL_PARENT),
    "a caller that is here": record(SpanContext(TRACE, 7, is_remote=False)),
    "without some values": record(own=(UUID, 0.0), common=(0, False, None)),
    "other values": record(own=(UUID[::-1], -1.5), common=(2**62, True, ())),
    "shared attributes": record(shared=SharedAttributes({"client.port": 4711, "url.path": "/predict"})),
    "a sampler's attributes": record(more={"sampler.name": "ours", "sampler.share": 0.5}),
    "a trace state": record(remote(), trace_state=TraceState([("vendor", "1"), ("other", "2")])),
    "an error": inner((7,), SpanShape("score", SpanKind.INTERNAL, SCOPE, common_keys=["n"], error="Timeout")),
}


def by_sdk(*records: SpanRecord) -> ExportTraceServiceRequest:
    """What the SDK exports for these."""
    request: ExportTraceServiceRequest = encode_spans([each.readable(RESOURCE) for each in records])
    return request


def ordered(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """The request with the attributes of each span in alphabetical order, because their order means nothing."""
    for span in (span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans):
        attributes = sorted(span.attributes, key=lambda pair: pair.key)
        del span.attributes[:]
        span.attributes.extend(attributes)
    return request


def ours(*records: SpanRecord) -> ExportTraceServiceRequest:
    """What we export for these."""
    encoded = RecordEncoder(RESOURCE).encode(records)
    request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(encoded.request)
    return request


@pytest.mark.parametrize("each", RECORDS.values(), ids=RECORDS)
def test_a_record_is_encoded_as_by_the_sdk(each: SpanRecord) -> None:
    """The exported request equals the SDK's; encoding twice gives the same."""
    assert ordered(ours(each)) == ordered(by_sdk(each))
    assert each.encode() == each.encode()


def test_records_of_several_scopes_are_grouped() -> None:
    """Spans are exported by scope, in their order."""
    other = SpanShape("score", SpanKind.INTERNAL, InstrumentationScope("other"))
    records = [record(), inner((), other), record(LOCAL_PARENT)]
    found = [
        (scope.scope.name, [span.name for span in scope.spans])
        for each in ours(*records).resource_spans
        for scope in each.scope_spans
    ]
    assert found == [("leeway", ["POST /predict"] * 2), ("other", ["score"])]


def test_a_readable_record_has_its_ids_and_times() -> None:
    """Other exporters get the SDK's type, with the parent's ids."""
    span = record(LOCAL_PARENT).readable(RESOURCE)
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    assert parent is not None
    assert (context.trace_id, context.span_id, parent.trace_id, parent.span_id) == (TRACE, SPAN, TRACE, 5)
    assert (span.start_time, span.end_time, span.resource) == (START, START + 1_000_000, RESOURCE)


def test_many_values_take_bounded_memory() -> None:
    """Of an attribute with ever new values only some are cached; all are encoded."""
    shape = SpanShape("score", SpanKind.INTERNAL, SCOPE, common_keys=["count"])
    records = [inner((count,), shape) for count in range(3 * CACHED_TEMPLATES)]
    assert ordered(ours(*records)) == ordered(by_sdk(*records))
    assert len(shape._templates) == CACHED_TEMPLATES


def test_a_long_span_is_framed() -> None:
    """Lengths around the limits of a varint are encoded correctly."""
    shape = SpanShape("n", SpanKind.INTERNAL, SCOPE, common_keys=["text"])
    records = [inner(("x" * length,), shape) for length in itertools.chain(range(60, 130), [20_000])]
    assert ordered(ours(*records)) == ordered(by_sdk(*records))


def test_a_value_that_does_not_fit_the_template_is_an_error() -> None:
    """It must not be cut, nor shift the values behind it."""
    for text in ("short", "é" * 36):
        with pytest.raises(ValueError, match="not a UUID"):
            record(own=(text, 0.5)).encode()
