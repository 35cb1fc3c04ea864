"""Drawings for the demo's page: the acts as a strip, a trace as a waterfall, a feature before and after.

Like the charts of `drift.report.page` they are inline SVG in its style, with their values as `data-*`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from cli.demo.evidence import ActSeen
from cli.demo.features import FeatureShift
from cli.demo.samples import NOT_USUAL, USUAL, Quantiles
from cli.demo.spans import Span
from cli.live_display import ms
from drift.report.page.axis import TimeAxis
from drift.report.page.chart import Stretch, element, percent

_ROW, _NAME, _BAR = 36, 18, 12
_PAIR, _THIN = 52, 11
_THINNEST, _WIDEST = 0.25, 68.0
"""Percent: the shortest bar is still visible, and the longest leaves room for its figures."""
_LATE = 55.0
_STRIP = 30
_PLOT, _BASE = 84, 92


def act_strip(axis: TimeAxis, acts: Sequence[Stretch]) -> Markup:
    """The numbered acts on the charts' axis; a narrow page shows the numbers only."""
    drawn = []
    for number, act in enumerate(acts, start=1):
        left, right = axis.place(act.start), axis.place(act.end)
        held = {"data_act": str(number), "data_from": act.start.isoformat(), "data_to": act.end.isoformat()}
        box = element(
            "rect", element("title", act.name), x=percent(left), width=percent(right - left), height=str(_STRIP),
            class_="ground even" if number % 2 == 0 else "ground", **held,
        )  # fmt: skip
        name = element("tspan", f" {act.name}", class_="act-name")
        text = element(
            "text", element("tspan", str(number), class_="act-number"), name, x=percent(left), dx="7", y="20"
        )
        drawn += [box, text]
    return _svg("acts", "The acts on the time axis", _STRIP, *drawn, style="chart strip")


def waterfall(key: str, title: str, spans: Sequence[Span]) -> Markup | None:
    """One trace: a bar for each span from its start to its end, relative to the root span, with its name above."""
    if not spans:
        return None
    first, total_ms = spans[0], max(spans[0].lasted_ms, 0.001)
    drawn = []
    for number, span in enumerate(spans):
        start_ms = (span.start - first.start).total_seconds() * 1_000
        left, width = 100 * start_ms / total_ms, 100 * span.lasted_ms / total_ms
        top = number * _ROW
        held = {"data_span": span.name, "data_start_ms": f"{start_ms:.3f}", "data_ms": f"{span.lasted_ms:.3f}"}
        style = "span" if number else "span outer"
        bar = {"x": percent(left), "width": percent(max(width, _THINNEST)), "y": str(top + _NAME), "height": str(_BAR)}
        drawn += [
            _label(f"{span.name} {ms(span.lasted_ms)}", left, left + width, top),
            element("rect", **bar, rx="2", class_=style, **held),
        ]
    return _svg(key, title, _ROW * len(spans), *drawn)


def kinds_of_input(acts: Sequence[ActSeen]) -> Markup:
    """For each act, p95 of usual and of unusual input as two bars on one scale, with the number of requests."""
    shown = [(seen, seen.figures.by_kind) for seen in acts if seen.figures is not None]
    longest = max((each.p95 or 0.0 for _, by_kind in shown for each in by_kind.values()), default=0.0) or 1.0
    drawn = [
        part for number, (seen, by_kind) in enumerate(shown) for part in _pair(seen, by_kind, number * _PAIR, longest)
    ]
    return _svg("kinds", f"p95 of {USUAL} and of {NOT_USUAL} input in each act", _PAIR * len(shown), *drawn)


def _pair(seen: ActSeen, by_kind: Mapping[str, Quantiles], top: int, longest: float) -> Iterator[Markup]:
    yield element("text", f"{seen.number} {seen.act.title}", x="0", y=str(top + 12), class_="length")
    for place, (kind, style) in enumerate(((USUAL, "usual"), (NOT_USUAL, "not-usual"))):
        found = by_kind.get(kind, Quantiles())
        y, width = top + _NAME + place * (_THIN + 3), _WIDEST * (found.p95 or 0.0) / longest
        held = {"data_act": str(seen.number), "data_kind": kind, "data_count": str(found.count)}
        value = None if found.p95 is None else str(found.p95)
        size = {"width": percent(max(width, _THINNEST)), "height": str(_THIN)}
        yield element("rect", x="0", y=str(y), rx="1.5", **size, class_=style, data_value=value, **held)
        figures = "none" if found.p95 is None else f"{ms(found.p95)} ({found.count:,})"
        yield element("text", figures, x=percent(width), dx="6", y=str(y + _THIN - 1), class_="small")


def _label(text: str, left: float, right: float, top: int) -> Markup:
    """A bar's name above it, aligned with its left end, or with its right end if the bar is far right."""
    late = left > _LATE
    anchor = "end" if late else "start"
    return element(
        "text", text, x=percent(right if late else left), y=str(top + 13), text_anchor=anchor, class_="length"
    )


def histogram(key: str, shift: FeatureShift) -> Markup:
    """A feature's shares before as filled bars, and after as an outline over them."""
    top = max(*shift.before, *shift.after, 0.001)
    edges = [100 * place / len(shift.before) for place in range(len(shift.before) + 1)]
    width = edges[1]

    def height(share: float) -> float:
        return _PLOT * share / top

    def line(left: float, right: float, *shares: float, **held: str) -> Markup:
        y1, y2 = (f"{_PLOT - height(share):.2f}" for share in shares)
        return element("line", x1=percent(left), x2=percent(right), y1=y1, y2=y2, class_="after", **held)

    bars, steps = [], []
    for place, (before, after) in enumerate(zip(shift.before, shift.after, strict=True)):
        size = {"width": percent(width * 0.88), "y": f"{_PLOT - height(before):.2f}", "height": f"{height(before):.2f}"}
        held = {"data_bin": str(place)}
        x = percent(edges[place] + width * 0.06)
        bars.append(element("rect", x=x, **size, class_="before", **held, data_share=f"{before:.4f}"))
        steps.append(line(edges[place], edges[place + 1], after, after, **held, data_share=f"{after:.4f}"))
    risers = [
        line(left, left, low, high) for left, (low, high) in zip(edges, pairwise((0.0, *shift.after)), strict=False)
    ]
    floor = element("line", x1="0", x2="100%", y1=str(_PLOT), y2=str(_PLOT), class_="floor")
    ends = [
        element("text", _short(shift.low), x="0", y=str(_PLOT + 16)),
        element("text", _short(shift.high), x="100%", y=str(_PLOT + 16), text_anchor="end"),
    ]
    title = f"{shift.feature} before and after"
    return _svg(key, title, _BASE + 12, *bars, *risers, *steps, floor, *ends, style="chart histogram")


def _svg(key: str, title: str, height: int, *parts: Markup, style: str = "chart") -> Markup:
    named = element("title", title, id=f"{key}-title")
    return element(
        "svg", named, *parts, id=key, class_=style, role="img", width="100%", height=str(height),
        aria_labelledby=f"{key}-title",
    )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004 (digits)
