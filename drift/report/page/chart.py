"""Charts on one time axis, as inline SVG: lines with a threshold and markers, and bands of states.

They stretch with the page, while text and strokes keep their size: positions are per cent of the plot, and only the
lines are in a stretched box. Unknown values leave a gap. Times are aware and shown in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from markupsafe import Markup, escape

from drift.report.page.axis import TimeAxis, ValueAxis, value_axis

BAND_HEIGHT = {"ok": 6, "watch": 14, "act": 22, "unknown": 6}
"""In pixels; taller is worse."""

SHAPES: Final = {"ok": "circle", "watch": "triangle", "act": "square", "unknown": "ring"}
"""Each state has its own shape, so that no information depends on colour alone."""

_PATHS = {
    "circle": "M6 2a4 4 0 1 0 .01 0z",
    "triangle": "M6 1 11.2 10.4H.8z",
    "square": "M1.5 1.5h9v9h-9z",
    "ring": "M6 2a4 4 0 1 0 .01 0z",
}
_ROW_PITCH = 46
_ROW_MIDDLE = 30
_MOST_DOTS = 24
_MOST_TOOLTIPS = 600


@dataclass(frozen=True)
class ChartLine:
    """One line. It has a gap at a point whose value is None. `tone` is 1, 2, 3 or 4."""

    name: str
    points: Sequence[tuple[datetime, float | None]]
    tone: int = 1


@dataclass(frozen=True)
class Marker:
    """An event at `time`; `state` (ok, watch, act, unknown) determines its shape and colour."""

    time: datetime
    label: str
    state: str = "unknown"


@dataclass(frozen=True)
class Stretch:
    """A named part of the time axis; every second one is shaded."""

    start: datetime
    end: datetime
    name: str


@dataclass(frozen=True)
class Band:
    """The state from `start` to `end`: ok, watch, act or unknown."""

    start: datetime
    end: datetime
    state: str


def line_chart(
    key: str,
    title: str,
    axis: TimeAxis,
    series: Sequence[ChartLine],
    *,
    threshold: ChartLine | None = None,
    markers: Sequence[Marker] = (),
    stretches: Sequence[Stretch] = (),
    show: Callable[[float], str] = "{:.2f}".format,
    height: int = 200,
) -> Markup:
    """Draw lines over time, from 0 up. A threshold is dashed, a marker is a dotted vertical line with a shape on top.

    Each point carries `data-series`, `data-time` and `data-value`, so that tests can compare a chart with its data.
    `key` is the chart's id and must be unique in the page; `show` formats a value; `height` is in pixels.
    """
    lines = [*series, *([threshold] if threshold else [])]
    values = value_axis([value for line in lines for _, value in line.points if value is not None], show)
    text = "; ".join(_in_words(line, show) for line in lines)
    return _chart(
        key,
        title,
        text,
        height,
        _grounds(axis, stretches),
        _grid(axis, values),
        *(_marker(axis, marker) for marker in markers),
        *([_line(axis, values, threshold, "threshold")] if threshold else []),
        *(_line(axis, values, each, f"line tone-{each.tone}") for each in series),
        *(_dots(axis, values, each) for each in series),
    )


def state_timeline(
    key: str, title: str, axis: TimeAxis, rows: Mapping[str, Sequence[Band]], stretches: Sequence[Stretch] = ()
) -> Markup:
    """Draw one row of bands for each name. A taller band is worse, a hollow one is unknown."""
    text = "; ".join(f"{name}: last {bands[-1].state if bands else 'unknown'}" for name, bands in rows.items())
    drawn = [
        part for place, (name, bands) in enumerate(rows.items()) for part in _row(axis, name, bands, place * _ROW_PITCH)
    ]
    height = _ROW_PITCH * len(rows) + 6
    return _chart(key, title, text, height, _grounds(axis, stretches), _time_grid(axis), *drawn)


def _grounds(axis: TimeAxis, stretches: Sequence[Stretch]) -> Markup:
    drawn = [
        element(
            "rect",
            element("title", stretch.name),
            x=percent(axis.place(stretch.start)),
            width=percent(axis.place(stretch.end) - axis.place(stretch.start)),
            height="100%",
            class_="ground even" if number % 2 else "ground",
        )
        for number, stretch in enumerate(stretches)
    ]
    return element("g", *drawn, class_="grounds") if drawn else Markup("")


def _chart(key: str, title: str, text: str, height: int, *parts: Markup) -> Markup:
    named = (element("title", title, id=f"{key}-title"), element("desc", text, id=f"{key}-text"))
    return element(
        "svg",
        *named,
        *parts,
        id=key,
        class_="chart",
        role="img",
        width="100%",
        height=str(height),
        aria_labelledby=f"{key}-title {key}-text",
    )


def _in_words(line: ChartLine, show: Callable[[float], str]) -> str:
    known = [value for _, value in line.points if value is not None]
    if not known:
        return f"{line.name}: no values"
    return f"{line.name}: last {show(known[-1])}, from {show(min(known))} to {show(max(known))}"


def _time_grid(axis: TimeAxis) -> Markup:
    """Vertical lines and their labels; a narrow page hides every second label."""
    ticks = axis.ticks()
    drawn = [
        part
        for number, tick in enumerate(ticks)
        for part in (
            element("line", x1=percent(tick.place), x2=percent(tick.place), y1="0", y2="100%"),
            element(
                "text",
                tick.label,
                x=percent(tick.place),
                y="100%",
                dy="18",
                text_anchor="middle",
                class_="tick" if number % 2 == len(ticks) % 2 else "tick every-second",
            ),
        )
    ]
    return element("g", *drawn, class_="grid time")


def _grid(axis: TimeAxis, values: ValueAxis) -> Markup:
    drawn = [
        part
        for tick in values.ticks()
        for part in (
            element("line", x1="0", x2="100%", y1=percent(tick.place), y2=percent(tick.place)),
            element("text", tick.label, x="-8", y=percent(tick.place), dy="4", text_anchor="end", class_="tick"),
        )
    ]
    return Markup("").join([_time_grid(axis), element("g", *drawn, class_="grid value")])


def _line(axis: TimeAxis, values: ValueAxis, line: ChartLine, style: str) -> Markup:
    """The line without its gaps, in a box of 1,000 × 100 units that stretches with the page."""
    pieces = []
    for known, points in groupby(line.points, key=lambda point: point[1] is not None):
        if known:
            places = [f"{10 * axis.place(at):.2f} {values.place(value or 0.0):.3f}" for at, value in points]
            pieces.append("M" + "L".join(places))
    path = element("path", d="".join(pieces), class_=style, vector_effect="non-scaling-stroke")
    return element(
        "svg", path, viewBox="0 0 1000 100", preserveAspectRatio="none", width="100%", height="100%", class_="box"
    )


def _dots(axis: TimeAxis, values: ValueAxis, line: ChartLine) -> Markup:
    """A dot on each point of a short line and on isolated points, and a tooltip on each point."""
    if len(line.points) > _MOST_TOOLTIPS:
        return Markup("")
    drawn = []
    for number, (at, value) in enumerate(line.points):
        if value is not None:
            seen = len(line.points) <= _MOST_DOTS or _is_isolated(line.points, number)
            text = f"{line.name} {values.show(value)} at {axis.say(at)}"
            place = {"cx": percent(axis.place(at)), "cy": percent(values.place(value))}
            dot = element("circle", **place, r="3", class_="dot") if seen else Markup("")
            data = {"data_series": line.name, "data_time": at.isoformat(), "data_value": str(value)}
            target = element("circle", element("title", text), **place, r="8", class_="target", **data)
            drawn += [dot, target]
    return element("g", *drawn, class_=f"dots tone-{line.tone}")


def _is_isolated(points: Sequence[tuple[datetime, float | None]], number: int) -> bool:
    before = points[number - 1][1] if number else None
    after = points[number + 1][1] if number + 1 < len(points) else None
    return before is None and after is None


def _marker(axis: TimeAxis, marker: Marker) -> Markup:
    place = percent(axis.place(marker.time))
    line = element("line", x1=place, x2=place, y1="0", y2="100%")
    target = element("rect", x=place, y="-16", width="20", height="22", transform="translate(-10 0)", class_="target")
    sign = element("svg", shape(marker.state), x=place, y="-14", overflow="visible")
    text = element("title", f"{marker.label}, {axis.say(marker.time)}")
    sign = element("g", sign, transform="translate(-6 0)")
    data = {"data_state": marker.state, "data_time": marker.time.isoformat()}
    return element("g", text, line, sign, target, class_=f"marker {marker.state}", **data)


def _row(axis: TimeAxis, name: str, bands: Sequence[Band], top: int) -> Iterable[Markup]:
    middle = top + _ROW_MIDDLE
    yield element("text", name, x="-12", y=str(middle), dy="4", text_anchor="end", class_="row-name")
    for band in bands:
        left, right = axis.place(band.start), axis.place(band.end)
        tall = BAND_HEIGHT[band.state]
        text = f"{name}: {band.state}, {axis.say(band.start)} to {axis.say(band.end)}"
        yield element(
            "rect",
            element("title", text),
            x=percent(left),
            width=percent(right - left),
            y=str(middle - tall // 2),
            height=str(tall),
            class_=f"band {band.state}",
            data_row=name,
            data_state=band.state,
        )


def element(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """One element; text and attributes are escaped, None leaves an attribute out.

    `class_` stands for `class`, and an underscore for a hyphen: `stroke_width`. A float has at most three decimals.
    """
    given = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    shown = "".join(f' {key}="{escape(_text(value))}"' for key, value in given)
    inner = Markup("").join(children)
    return Markup(f"<{name}{shown}>{inner}</{name}>")  # noqa: S704 (every part of it is escaped above)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3f}".rstrip("0").rstrip(".")


def percent(place: float) -> str:
    """A position in per cent, as an SVG length."""
    return f"{_text(float(place))}%"


def shape(state: str, *, size: int = 12) -> Markup:
    """A state's shape, 12 units wide: circle ok, triangle watch, square act, ring unknown. Screen readers skip it."""
    path = element("path", d=_PATHS[SHAPES[state]])
    return element(
        "svg", path, class_=f"shape {state}", viewBox="0 0 12 12", width=str(size), height=str(size), aria_hidden="true"
    )
