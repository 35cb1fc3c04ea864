"""Charts on one time axis, as inline SVG: lines with a threshold and markers, and bands of states.

They stretch with the page while text and strokes keep their size: places are per cent of the plot, and only the lines
themselves live in a stretched box. Nothing is drawn where nothing is known. Times are aware and shown in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from markupsafe import Markup

from drift.report.page.axis import TimeAxis, ValueAxis, value_axis
from drift.report.page.svg import element, percent, shape

BAND_HEIGHT = {"ok": 6, "watch": 14, "act": 22, "unknown": 6}
"""In pixels: the taller, the worse."""

_ROW_PITCH = 46
_ROW_MIDDLE = 30
_MOST_DOTS = 24
_MOST_TOOLTIPS = 600


@dataclass(frozen=True)
class Series:
    """One line. A point's value is None where nothing is known: the line has a gap there. `tone` is 1, 2, 3 or 4."""

    name: str
    points: Sequence[tuple[datetime, float | None]]
    tone: int = 1


@dataclass(frozen=True)
class Marker:
    """Something that happened at `time`; `state` (ok, watch, act, unknown) gives its shape and colour."""

    time: datetime
    label: str
    state: str = "unknown"


@dataclass(frozen=True)
class Stretch:
    """A part of the time axis that has a name; every second one has a ground of its own."""

    start: datetime
    end: datetime
    name: str


@dataclass(frozen=True)
class Band:
    """From `start` to `end` this was the state: ok, watch, act or unknown."""

    start: datetime
    end: datetime
    state: str


def line_chart(
    key: str,
    title: str,
    axis: TimeAxis,
    series: Sequence[Series],
    *,
    threshold: Series | None = None,
    markers: Sequence[Marker] = (),
    stretches: Sequence[Stretch] = (),
    show: Callable[[float], str] = "{:.2f}".format,
    height: int = 200,
) -> Markup:
    """Draw lines over time, from 0 up; a threshold is dashed, a marker a dotted upright with its shape on top.

    Each point's place carries `data-series`, `data-time` and `data-value`, so that a chart can be held to its data.
    `key` is the chart's id in the page and must be its own there; `show` makes a value's label; `height` is in pixels.
    """
    lines = [*series, *([threshold] if threshold else [])]
    values = value_axis([value for line in lines for _, value in line.points if value is not None], show)
    said = "; ".join(_in_words(line, show) for line in lines)
    return _chart(
        key,
        title,
        said,
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
    """Draw one row of bands for each name; the taller a band, the worse, and a hollow one is unknown."""
    said = "; ".join(f"{name}: last {bands[-1].state if bands else 'unknown'}" for name, bands in rows.items())
    drawn = [
        part for place, (name, bands) in enumerate(rows.items()) for part in _row(axis, name, bands, place * _ROW_PITCH)
    ]
    height = _ROW_PITCH * len(rows) + 6
    return _chart(key, title, said, height, _grounds(axis, stretches), _time_grid(axis), *drawn)


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


def _chart(key: str, title: str, said: str, height: int, *parts: Markup) -> Markup:
    named = (element("title", title, id=f"{key}-title"), element("desc", said, id=f"{key}-said"))
    return element(
        "svg",
        *named,
        *parts,
        id=key,
        class_="chart",
        role="img",
        width="100%",
        height=str(height),
        aria_labelledby=f"{key}-title {key}-said",
    )


def _in_words(line: Series, show: Callable[[float], str]) -> str:
    known = [value for _, value in line.points if value is not None]
    if not known:
        return f"{line.name}: nothing known"
    return f"{line.name}: last {show(known[-1])}, from {show(min(known))} to {show(max(known))}"


def _time_grid(axis: TimeAxis) -> Markup:
    """Uprights and their labels; a narrow page hides every second label."""
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


def _line(axis: TimeAxis, values: ValueAxis, line: Series, style: str) -> Markup:
    """The known stretches of a line, in a box of 1,000 × 100 units that stretches with the page."""
    pieces = []
    for known, points in groupby(line.points, key=lambda point: point[1] is not None):
        if known:
            places = [f"{10 * axis.place(at):.2f} {values.place(value or 0.0):.3f}" for at, value in points]
            pieces.append("M" + "L".join(places))
    path = element("path", d="".join(pieces), class_=style, vector_effect="non-scaling-stroke")
    return element(
        "svg", path, viewBox="0 0 1000 100", preserveAspectRatio="none", width="100%", height="100%", class_="box"
    )


def _dots(axis: TimeAxis, values: ValueAxis, line: Series) -> Markup:
    """A dot on each point of a short line, and on points that stand alone; each names its value when pointed at."""
    if len(line.points) > _MOST_TOOLTIPS:
        return Markup("")
    drawn = []
    for number, (at, value) in enumerate(line.points):
        if value is not None:
            seen = len(line.points) <= _MOST_DOTS or _stands_alone(line.points, number)
            said = f"{line.name} {values.show(value)} at {axis.say(at)}"
            place = {"cx": percent(axis.place(at)), "cy": percent(values.place(value))}
            dot = element("circle", **place, r="3", class_="dot") if seen else Markup("")
            held = {"data_series": line.name, "data_time": at.isoformat(), "data_value": str(value)}
            target = element("circle", element("title", said), **place, r="8", class_="target", **held)
            drawn += [dot, target]
    return element("g", *drawn, class_=f"dots tone-{line.tone}")


def _stands_alone(points: Sequence[tuple[datetime, float | None]], number: int) -> bool:
    before = points[number - 1][1] if number else None
    after = points[number + 1][1] if number + 1 < len(points) else None
    return before is None and after is None


def _marker(axis: TimeAxis, marker: Marker) -> Markup:
    place = percent(axis.place(marker.time))
    upright = element("line", x1=place, x2=place, y1="0", y2="100%")
    target = element("rect", x=place, y="-16", width="20", height="22", transform="translate(-10 0)", class_="target")
    sign = element("svg", shape(marker.state), x=place, y="-14", overflow="visible")
    said = element("title", f"{marker.label}, {axis.say(marker.time)}")
    sign = element("g", sign, transform="translate(-6 0)")
    held = {"data_state": marker.state, "data_time": marker.time.isoformat()}
    return element("g", said, upright, sign, target, class_=f"marker {marker.state}", **held)


def _row(axis: TimeAxis, name: str, bands: Sequence[Band], top: int) -> Iterable[Markup]:
    middle = top + _ROW_MIDDLE
    yield element("text", name, x="-12", y=str(middle), dy="4", text_anchor="end", class_="row-name")
    for band in bands:
        left, right = axis.place(band.start), axis.place(band.end)
        tall = BAND_HEIGHT[band.state]
        said = f"{name}: {band.state}, {axis.say(band.start)} to {axis.say(band.end)}"
        yield element(
            "rect",
            element("title", said),
            x=percent(left),
            width=percent(right - left),
            y=str(middle - tall // 2),
            height=str(tall),
            class_=f"band {band.state}",
            data_row=name,
            data_state=band.state,
        )
