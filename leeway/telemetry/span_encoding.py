"""Encodes spans as OTLP for the exporters. A repeated attribute is encoded once.

The SDK's encoder takes a tenth of a millisecond per span, mostly for attributes that all spans share (method, route,
model version) and for comparing the only resource. It still encodes what is rare in our spans. The bytes of a protobuf
message are those of its fields in any order, so parts can be encoded separately and joined, see
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind, Status
from opentelemetry.util.types import AttributeValue

REMEMBERED = 1_024
"""Number of cached attributes. Those that occur only once, such as ids, evict each other."""
REMEMBERED_LENGTH = 64
"""Maximum length of a cached text, which bounds the memory of the cache."""
KIND = {kind: Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_UNSET = OtlpStatus()
LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE = LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


@dataclass(frozen=True, slots=True)
class EncodedSpans:
    """The bytes of an `ExportTraceServiceRequest`, and how many spans it holds."""

    request: bytes
    count: int


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Encode an `ExportTraceServiceRequest` equal to that of the SDK's `encode_spans`; a test compares them."""
    scopes: dict[int, list[ReadableSpan]] = {}
    for span in spans:  # all spans of a process have the same resource
        scopes.setdefault(id(span.instrumentation_scope), []).append(span)
    return request_of(_resource_spans(of_scope) for of_scope in scopes.values())


def _resource_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """A `ResourceSpans` with spans of one scope."""
    frame = encode_frame(spans[0].resource, spans[0].instrumentation_scope)
    return in_frame(frame, [span_field(encode_span(span)) for span in spans])


def encode_frame(resource: Resource, scope_info: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """The fields of a `ResourceSpans` and of its one `ScopeSpans`, without spans."""
    nothing = ReadableSpan("", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope_info)
    frame = encode_spans([nothing]).resource_spans[0]
    scope = frame.scope_spans.pop()
    del scope.spans[:]
    return _bytes(frame), _bytes(scope)


def in_frame(frame: tuple[bytes, bytes], spans: Sequence[bytes]) -> bytes:
    """A `ResourceSpans` with spans of one scope, each encoded by `span_field`."""
    of_resource, of_scope = frame
    return of_resource + _field(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, b"".join([of_scope, *spans]))


def span_field(span: bytes) -> bytes:
    """An encoded span as a field of a `ScopeSpans`."""
    return _field(ScopeSpans.SPANS_FIELD_NUMBER, span)


def request_of(resource_spans: Iterable[bytes]) -> bytes:
    """An `ExportTraceServiceRequest` with these encoded `ResourceSpans`."""
    number = ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER
    return b"".join(_field(number, each) for each in resource_spans)


def encode_attributes(attributes: Mapping[str, AttributeValue]) -> bytes:
    """Attributes as fields of a `Span`; one that OTLP cannot encode is left out and logged, as by the SDK."""
    try:
        return b"".join(_attribute(name, value) for name, value in attributes.items())
    except (TypeError, ValueError):
        span = ReadableSpan("", INVALID_SPAN_CONTEXT, attributes=attributes)
        return _bytes(Span(attributes=encode_spans([span]).resource_spans[0].scope_spans[0].spans[0].attributes))


def _field(number: int, message: bytes) -> bytes:
    """A field with a message: its number and wire type, its length, its bytes."""
    length = len(message)
    if length <= 0x3FFF and length > 0x7F:  # noqa: PLR2004 (two bytes of seven bits: nearly every span)
        return bytes((number << 3 | 2, length & 0x7F | 0x80, length >> 7)) + message
    prefix = bytearray([number << 3 | 2])
    while length > 0x7F:  # noqa: PLR2004 (seven bits at a time, the lowest first; the eighth says that more follow)
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + message


def _bytes(message: ResourceSpans | ScopeSpans | Span) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def encode_span(span: ReadableSpan) -> bytes:
    """A span as OTLP."""
    context, parent = span.get_span_context(), span.parent
    if context is None or context.trace_state or span.events or span.links or not span.status.is_unset:
        return _span_by_sdk(span)
    try:
        attributes = [
            _remembered(name, value) if _is_short(value) else _attribute(name, value)
            for name, value in (span.attributes or {}).items()
        ]
        rest = Span(
            trace_id=context.trace_id.to_bytes(16, "big"),
            span_id=context.span_id.to_bytes(8, "big"),
            parent_span_id=parent.span_id.to_bytes(8, "big") if parent else b"",
            name=span.name,
            kind=KIND[span.kind],
            start_time_unix_nano=span.start_time or 0,
            end_time_unix_nano=span.end_time or 0,
            dropped_attributes_count=span.dropped_attributes,
            status=_UNSET,
            flags=REMOTE if parent and parent.is_remote else LOCAL,
        )
    except (TypeError, ValueError):  # a value of a type that we do not use, or that OTLP cannot encode
        return _span_by_sdk(span)
    return _bytes(rest) + b"".join(attributes)


def _span_by_sdk(span: ReadableSpan) -> bytes:
    """Use the SDK's encoder: it drops and logs an attribute that it cannot encode, but fails on other invalid text."""
    try:
        encoded = encode_spans([span])
    except UnicodeEncodeError:
        encoded = encode_spans([_escaped(span)])
    return _bytes(encoded.resource_spans[0].scope_spans[0].spans[0])


def _escaped(span: ReadableSpan) -> ReadableSpan:
    """The span with lone surrogates escaped in its name, its events' names and its status."""
    description = span.status.description
    status = span.status if description is None else Status(span.status.status_code, _escape(description))
    return ReadableSpan(
        _escape(span.name),
        span.get_span_context(),
        span.parent,
        span.resource,
        span.attributes,
        [Event(_escape(event.name), event.attributes, event.timestamp) for event in span.events],
        span.links,
        span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _attribute(name: str, value: object) -> bytes:
    return _bytes(Span(attributes=[KeyValue(key=name, value=_any_value(value))]))


def _is_short(value: object) -> TypeGuard[str | int]:
    return len(value) <= REMEMBERED_LENGTH if isinstance(value, str) else isinstance(value, int)


_remembered = lru_cache(REMEMBERED, typed=True)(_attribute)  # typed: 1 is not True


def _any_value(value: object) -> AnyValue:
    match value:
        case bool():  # before int, because a bool is an int
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple():
            return AnyValue(array_value=ArrayValue(values=[_any_value(each) for each in value]))
    raise TypeError(f"unexpected type {type(value).__name__}")
