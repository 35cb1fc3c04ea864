"""Spans described after the fact by one record each, and encoded as OTLP without a span of the SDK.

Making a span of the SDK takes tens of microseconds: locks, limits, copies of attributes. A record has a few fields, and
what spans of one kind share (`SpanShape`) or all requests of one connection (`SharedAttributes`) is encoded once: then
only ids, times and a few values are packed into a template. The result equals that of the SDK's encoder, and
`SpanRecord.readable` gives other exporters the SDK's own type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct as Layout
from typing import Final, TypeAlias

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
CACHED_TEMPLATES: Final = 128
"""Number of cached templates per shape."""
_STATUS: Final = {code: OtlpStatus.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode}
_TRACE_ID, _SPAN_ID, _PARENT_ID, _START, _END = b"\x0a\x10", b"\x12\x08", b"\x22\x08", b"\x39", b"\x41"
"""The tags of fields 1, 2, 4, 7 and 8 of `Span` in trace.proto; those of ids with the id's length.

See https://protobuf.dev/programming-guides/encoding/.
"""
_DOUBLE: Final = Layout("<d").pack
OwnValues: TypeAlias = tuple[()] | tuple[str, float]
CommonValues: TypeAlias = tuple[AttributeValue | None, ...]


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
    """What all spans of one kind share: name, kind, scope, status, and the names of their attributes.

    The values of `own_keys`, a UUID and a float, differ from span to span; those of `common_keys` are mostly the same.
    """

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        scope: InstrumentationScope,
        *,
        own_keys: tuple[()] | tuple[str, str] = (),
        common_keys: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        self.name, self.kind, self.scope = name, kind, scope
        self.own_keys, self.common_keys = own_keys, tuple(common_keys)
        self.status = Status() if error is None else Status(StatusCode.ERROR, error)
        self._templates: dict[tuple[CommonValues, int, int, int], _Template] = {}
        if own_keys:
            uuid_key, float_key = own_keys
            self._uuid = encode_attributes({uuid_key: "-" * UUID_LENGTH})[:-UUID_LENGTH]
            self._float = encode_attributes({float_key: 1.0})[: -len(_DOUBLE(1.0))]

    def encode_own(self, uuid: str, number: float) -> bytes:
        """The values of `own_keys`, always of the same length.

        Raises:
            ValueError: `uuid` is not as long as a UUID.
        """
        if len(text := uuid.encode()) != UUID_LENGTH:
            raise ValueError(f"not a UUID: {uuid!r}")
        return b"".join((self._uuid, text, self._float, _DOUBLE(number)))

    def template(self, common: CommonValues, flags: int, parent_length: int, shared_length: int) -> _Template:
        """The template of spans with these common values, flags, and lengths of other parts."""
        key = common, flags, parent_length, shared_length
        template = self._templates.get(key)
        if template is None:
            template = _Template(self, *key)
            if len(self._templates) < CACHED_TEMPLATES:
                self._templates[key] = template
        return template


class _Template:
    """The bytes of spans of one shape that differ only in ids, times, own values and shared attributes."""

    def __init__(
        self, shape: SpanShape, common: CommonValues, flags: int, parent_length: int, shared_length: int
    ) -> None:
        named = zip(shape.common_keys, common, strict=True)
        status = OtlpStatus(code=_STATUS[shape.status.status_code], message=shape.status.description or "")
        same: bytes = OtlpSpan(name=shape.name, kind=KIND[shape.kind], status=status, flags=flags).SerializeToString()
        self._rest = same + encode_attributes({key: value for key, value in named if value is not None})
        self._encode_own = shape.encode_own
        own_length = len(shape.encode_own("-" * UUID_LENGTH, 0.0)) if shape.own_keys else 0
        fields = f"2s16s2s8s{parent_length}ssQsQ{own_length}s{len(self._rest)}s{shared_length}s"
        length = Layout(f"<{fields}").size
        self._field = span_field(bytes(length))[:-length]
        self._pack = Layout(f"<{len(self._field)}s{fields}").pack

    def fill(self, record: SpanRecord, parent: bytes, shared: bytes) -> bytes:
        """A record's span as a field of OTLP's `ScopeSpans`."""
        own = self._encode_own(*record.own) if record.own else b""
        return self._pack(
            self._field,
            _TRACE_ID,
            record.trace_id,
            _SPAN_ID,
            record.span_id,
            parent,
            _START,
            record.started_ns,
            _END,
            record.ended_ns,
            own,
            self._rest,
            shared,
        )


class SpanRecord(msgspec.Struct, gc=False):
    """One finished span of a sampled trace, without events and links.

    Ids are bytes. `parent` is a context, or the id of a span of this process in the same trace, or None for a root.
    `own` and `common` are values of the shape's attributes; a common one that is None is left out. `more` holds
    attributes besides these and `shared`, such as a sampler's.
    """

    shape: SpanShape
    trace_id: bytes
    span_id: bytes
    parent: SpanContext | bytes | None
    started_ns: int
    ended_ns: int
    own: OwnValues
    common: CommonValues
    shared: SharedAttributes = NO_ATTRIBUTES
    more: Mapping[str, AttributeValue] | None = None
    trace_state: TraceState | None = None

    def encode(self) -> bytes:
        """A field of OTLP's `ScopeSpans`."""
        if self.trace_state or self.more:
            return span_field(encode_span(self.readable(Resource.get_empty())))
        parent, flags, parent_field = self.parent, int(LOCAL), b""
        if type(parent) is bytes:
            parent_field = _PARENT_ID + parent
        elif isinstance(parent, SpanContext):
            parent_field = _PARENT_ID + parent.span_id.to_bytes(8, "big")
            flags = REMOTE if parent.is_remote else LOCAL
        shared = self.shared.encode()
        template = self.shape.template(self.common, flags, len(parent_field), len(shared))
        return template.fill(self, parent_field, shared)

    def readable(self, resource: Resource) -> ReadableSpan:
        """The same as the SDK's type."""
        flags, parent = TraceFlags(TraceFlags.SAMPLED), self.parent
        trace_id = int.from_bytes(self.trace_id, "big")

        def local(span_id: bytes) -> SpanContext:
            return SpanContext(
                *(trace_id, int.from_bytes(span_id, "big")),
                is_remote=False,
                trace_flags=flags,
                trace_state=self.trace_state,
            )

        values = zip(self.shape.common_keys, self.common, strict=True)
        own: dict[str, AttributeValue] = dict(zip(self.shape.own_keys, self.own, strict=True))
        own.update({key: value for key, value in values if value is not None})
        return ReadableSpan(
            self.shape.name,
            local(self.span_id),
            local(parent) if isinstance(parent, bytes) else parent,
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
        by_shape: dict[SpanShape, list[bytes]] = {}  # a scope takes longer to hash
        for record in records:
            by_shape.setdefault(record.shape, []).append(record.encode())
        by_scope: dict[InstrumentationScope, list[bytes]] = {}
        for shape, spans in by_shape.items():
            by_scope.setdefault(shape.scope, []).extend(spans)
        request = request_of(in_frame(self._frame(scope), spans) for scope, spans in by_scope.items())
        return EncodedSpans(request, sum(map(len, by_shape.values())))

    def _frame(self, scope: InstrumentationScope) -> tuple[bytes, bytes]:
        if scope not in self._frames:
            self._frames[scope] = encode_frame(self._resource, scope)
        return self._frames[scope]
