"""The spans that both processes wrote to a file, one JSON object per line (the SDK's own shape)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from leeway.telemetry import names

SERVER = "SpanKind.SERVER"


class SpanContext(Struct):
    """Which span of which trace; ids in hex, that of the trace without its prefix 0x."""

    trace_id: str
    span_id: str

    def __post_init__(self) -> None:
        self.trace_id = self.trace_id.removeprefix("0x")


class SpanLink(Struct, frozen=True):
    """A link from a span to another trace."""

    context: SpanContext
    attributes: Mapping[str, Any]


class Span(Struct, frozen=True, rename={"start": "start_time", "end": "end_time"}):
    """One span; times aware."""

    name: str
    context: SpanContext
    parent_id: str | None
    kind: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Any] = {}
    links: tuple[SpanLink, ...] = ()

    @property
    def lasted_ms(self) -> float:
        """From start to end in milliseconds."""
        return (self.end - self.start).total_seconds() * 1_000


class Spans:
    """All spans of a file, by trace."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._traces: dict[str, list[Span]] = defaultdict(list)
        for span in spans:
            self._traces[span.context.trace_id].append(span)

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace, each after its parent, in the order of their starts."""
        spans = sorted(self._traces.get(trace_id, []), key=lambda span: (span.start, span.parent_id is not None))
        own = {span.context.span_id for span in spans}
        roots = [span for span in spans if span.parent_id not in own]
        return [each for root in roots for each in _with_children(root, spans)]

    def slow_one(self, start: datetime, end: datetime, near_ms: float) -> list[Span]:
        """The trace of a slow single prediction between these times; empty if there were no predictions.

        It is the median of those that an injected fault affected, or else the one nearest to `near_ms`.
        """
        found = [
            span
            for spans in self._traces.values()
            for span in spans
            if span.kind == SERVER
            and span.attributes.get(names.HTTP_ROUTE) == "/predict"
            and span.start >= start
            and span.end <= end
        ]
        affected = sorted(
            (span for span in found if names.FLAG_KEY in span.attributes), key=lambda span: span.lasted_ms
        )
        if affected:
            return self.trace(affected[len(affected) // 2].context.trace_id)
        chosen = min(found, key=lambda span: abs(span.lasted_ms - near_ms), default=None)
        return self.trace(chosen.context.trace_id) if chosen is not None else []


def _with_children(parent: Span, spans: list[Span]) -> Iterator[Span]:
    yield parent
    for span in spans:
        if span.parent_id == parent.context.span_id:
            yield from _with_children(span, spans)


def read_spans(path: Path) -> Spans:
    """Read a file without an incomplete last line; a missing file has no spans."""
    try:
        with path.open(encoding="utf-8") as file:
            return Spans(msgspec.json.decode(line, type=Span) for line in file if line.endswith("\n"))
    except FileNotFoundError:
        return Spans(())
