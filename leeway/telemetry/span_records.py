"""Spans described after the fact by one record each, and encoded as OTLP without a span of the SDK.

Making a span of the SDK takes tens of microseconds: locks, limits, copies of attributes. A record has a few fields, and
what all spans of one kind share (`SpanShape`) or all requests of one connection (`SharedAttributes`) is encoded once.
The result equals that of the SDK's encoder, and `SpanRecord.readable` gives other exporters the SDK's own type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct as Layout
from typing import Final

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from leeway.telemetry.span_encoding import (
    KIND,
    LOCAL,
    REMOTE,
    EncodedSpans,
    encode_attributes,
    encode_frame,
    encode_span,
    in_frame,
    request_of,
    span_field,
)

UUID_LENGTH: Final = 36
CACHED_VALUES: Final = 64
"""Number of cached combinations of values per shape."""
_STATUS: Final = {code: OtlpStatus.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode}
_FIXED: Final = Layout("<2s16s2s8sBQBQ2sI").pack
"""Trace id, span id, start, end and flags of an OTLP span, each behind its tag.

See https://protobuf.dev/programming-guides/encoding/ and fields 1, 2, 7, 8 and 16 of `Span` in trace.proto.
"""
_TRACE_ID, _SPAN_ID, _START, _END, _FLAGS = b"\x0a\x10", b"\x12\x08", 0x39, 0x41, b"\x85\x01"
_PARENT_ID: Final = b"\x22\x08"
_DOUBLE: Final = Layout("<d").pack


class SharedAttributes(dict[str, AttributeValue]):
    """Attributes that many spans share, such as those of one connection; encoded once. Do not change them."""

    _encoded: bytes | None = None

    def encode(self) -> bytes:
        """As fields of an OTLP span."""
        if self._encoded is None:
            self._encoded = encode_attributes(self)
        return self._encoded


NO_ATTRIBUTES: Final = SharedAttributes()


class SpanShape:
    """What all spans of one kind share: name, kind, scope, status, and the names of the attributes in `values`.

    The first ones, `own_keys`, differ from span to span: texts as long as a UUID, and floats. The combinations of the
    others are few, and encoded once.
    """

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        scope: InstrumentationScope,
        *,
        own_keys: Sequence[str] = (),
        common_keys: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        self.name, self.kind, self.scope, self.keys = name, kind, scope, (*own_keys, *common_keys)
        self.status = Status() if error is None else Status(StatusCode.ERROR, error)
        status = OtlpStatus(code=_STATUS[self.status.status_code], message=error or "")
        self.encoded: bytes = OtlpSpan(name=name, kind=KIND[kind], status=status).SerializeToString()
        self._own = [_ValueEncoder(key).encode for key in own_keys]
        self._common_keys = tuple(common_keys)
        self._cached: dict[tuple[AttributeValue | None, ...], bytes] = {}

    def encode(self, values: tuple[AttributeValue | None, ...]) -> bytes:
        """The attributes of one span; those that are None are left out."""
        own, common = self._own, values[len(self._own) :]
        encoded = self._cached.get(common)
        if encoded is None:
            named = zip(self._common_keys, common, strict=True)
            encoded = encode_attributes({key: value for key, value in named if value is not None})
            if len(self._cached) < CACHED_VALUES:
                self._cached[common] = encoded
        for encode, value in zip(own, values, strict=False):
            encoded += encode(value)
        return encoded


class _ValueEncoder:
    """Encodes the values of one attribute: texts as long as a UUID and floats behind a constant prefix."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._of_uuid = encode_attributes({key: "-" * UUID_LENGTH})[:-UUID_LENGTH]
        self._of_float = encode_attributes({key: 1.0})[: -len(_DOUBLE(1.0))]

    def encode(self, value: AttributeValue | None) -> bytes:
        if type(value) is float:
            return self._of_float + _DOUBLE(value)
        if type(value) is str and len(value) == UUID_LENGTH and value.isascii():
            return self._of_uuid + value.encode()
        return b"" if value is None else encode_attributes({self._key: value})


class SpanRecord(msgspec.Struct, gc=False):
    """One finished span of a sampled trace, without events and links.

    `parent` is a context, or the id of a span of this process in the same trace, or None for a root. `more` holds
    attributes besides `shared` and `values`, such as a sampler's.
    """

    shape: SpanShape
    trace_id: int
    span_id: int
    parent: SpanContext | int | None
    started_ns: int
    ended_ns: int
    values: tuple[AttributeValue | None, ...]
    shared: SharedAttributes = NO_ATTRIBUTES
    more: Mapping[str, AttributeValue] | None = None
    trace_state: TraceState | None = None

    def encode(self) -> bytes:
        """An OTLP span."""
        if self.trace_state:
            return encode_span(self.readable(Resource.get_empty()))
        parent, flags, parent_id = self.parent, int(LOCAL), b""
        if type(parent) is int:
            parent_id = _PARENT_ID + parent.to_bytes(8, "big")
        elif isinstance(parent, SpanContext):
            parent_id = _PARENT_ID + parent.span_id.to_bytes(8, "big")
            flags = REMOTE if parent.is_remote else LOCAL
        trace_id, span_id = self.trace_id.to_bytes(16, "big"), self.span_id.to_bytes(8, "big")
        times = (_START, self.started_ns, _END, self.ended_ns)
        fixed = _FIXED(_TRACE_ID, trace_id, _SPAN_ID, span_id, *times, _FLAGS, flags)
        more = encode_attributes(self.more) if self.more else b""
        return b"".join(
            (fixed, parent_id, self.shape.encoded, self.shared.encode(), self.shape.encode(self.values), more)
        )

    def readable(self, resource: Resource) -> ReadableSpan:
        """The same as the SDK's type."""
        flags, parent = TraceFlags(TraceFlags.SAMPLED), self.parent
        if isinstance(parent, int):
            parent = SpanContext(
                self.trace_id, parent, is_remote=False, trace_flags=flags, trace_state=self.trace_state
            )
        own = {key: value for key, value in zip(self.shape.keys, self.values, strict=True) if value is not None}
        return ReadableSpan(
            self.shape.name,
            SpanContext(self.trace_id, self.span_id, is_remote=False, trace_flags=flags, trace_state=self.trace_state),
            parent,
            resource,
            {**(self.more or {}), **self.shared, **own},
            kind=self.shape.kind,
            status=self.shape.status,
            start_time=self.started_ns,
            end_time=self.ended_ns,
            instrumentation_scope=self.shape.scope,
        )


class RecordEncoder:
    """Encodes records of one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._frames: dict[InstrumentationScope, tuple[bytes, bytes]] = {}

    def encode(self, records: Iterable[SpanRecord]) -> EncodedSpans:
        """All of them, in one request."""
        by_scope: dict[InstrumentationScope, list[bytes]] = {}
        for record in records:
            by_scope.setdefault(record.shape.scope, []).append(span_field(record.encode()))
        request = request_of(in_frame(self._frame(scope), spans) for scope, spans in by_scope.items())
        return EncodedSpans(request, sum(map(len, by_scope.values())))

    def _frame(self, scope: InstrumentationScope) -> tuple[bytes, bytes]:
        if scope not in self._frames:
            self._frames[scope] = encode_frame(self._resource, scope)
        return self._frames[scope]
