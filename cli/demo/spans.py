"""The spans that both processes wrote to a file, one JSON object per line (the SDK's own shape)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from leeway.telemetry import names

SERVER = "SpanKind.SERVER"


@dataclass(frozen=True)
class SpanLink:
    """A link from a span to another trace."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One span; ids in hex, times aware."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    kind: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Any] = field(default_factory=dict)
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
            self._traces[span.trace_id].append(span)

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace, each after its parent, in the order of their starts."""
        spans = sorted(self._traces.get(trace_id, []), key=lambda span: (span.start, span.parent_id is not None))
        own = {span.span_id for span in spans}
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
            return self.trace(affected[len(affected) // 2].trace_id)
        chosen = min(found, key=lambda span: abs(span.lasted_ms - near_ms), default=None)
        return self.trace(chosen.trace_id) if chosen is not None else []


def _with_children(parent: Span, spans: list[Span]) -> Iterator[Span]:
    yield parent
    for span in spans:
        if span.parent_id == parent.span_id:
            yield from _with_children(span, spans)


def read_spans(path: Path) -> Spans:
    """Read a file without an incomplete last line; a missing file has no spans."""
    try:
        with path.open(encoding="utf-8") as file:
            return Spans(_span(msgspec.json.decode(line)) for line in file if line.endswith("\n"))
    except FileNotFoundError:
        return Spans(())


def _span(written: Mapping[str, Any]) -> Span:
    context = written["context"]
    return Span(
        name=written["name"],
        trace_id=_hex(context["trace_id"]),
        span_id=_hex(context["span_id"]),
        parent_id=_hex(written["parent_id"]) if written["parent_id"] else None,
        kind=written["kind"],
        start=datetime.fromisoformat(written["start_time"]),
        end=datetime.fromisoformat(written["end_time"]),
        attributes=written["attributes"],
        links=tuple(
            SpanLink(_hex(link["context"]["trace_id"]), _hex(link["context"]["span_id"]), link["attributes"])
            for link in written["links"]
        ),
    )


def _hex(number: str) -> str:
    return number.removeprefix("0x")
