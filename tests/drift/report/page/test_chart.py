from __future__ import annotations

from datetime import timedelta

import pytest

from drift.report.page.chart import Band, Marker, Series, Stretch, line_chart, state_timeline
from tests.drift.documents import NOON
from tests.drift.report.page.drawn import HOSTILE, HOUR, minutes, of_class, parse


def test_points_carry_their_data() -> None:
    """Each point names its series, its time and its value as they were given, so that a chart can be held to them."""
    tree = parse(line_chart("c", "Share", HOUR, [Series("a", minutes(0.1, None, 0.3)), Series("b", minutes(0.5))]))
    carried = [
        (each.attrib["data-series"], each.attrib["data-time"], float(each.attrib["data-value"]))
        for each in of_class(tree, "target")
        if each.tag == "circle"
    ]
    noon, later = NOON.isoformat(), (NOON + timedelta(minutes=20)).isoformat()
    assert carried == [("a", noon, 0.1), ("a", later, 0.3), ("b", noon, 0.5)]


def test_stretches_lie_under_lines_and_bands() -> None:
    """A named stretch is a ground from its start to its end, below everything else; every second one is shaded."""
    quarter = timedelta(minutes=15)
    stretches = [
        Stretch(NOON + number * quarter, NOON + (number + 1) * quarter, f"act {number}") for number in range(2)
    ]
    for drawn in (
        line_chart("c", "Share", HOUR, [Series("a", minutes(0.1))], stretches=stretches),
        state_timeline("c", "Verdicts", HOUR, {"quality": [Band(NOON, HOUR.end, "ok")]}, stretches),
    ):
        tree = parse(drawn)
        grounds = of_class(tree, "ground")
        assert [(each.attrib["x"], each.attrib["width"], each[0].text) for each in grounds] == [
            ("0%", "25%", "act 0"),
            ("25%", "25%", "act 1"),
        ]
        assert ["even" in each.attrib["class"] for each in grounds] == [False, True]
        assert [each.get("class") for each in tree][2] == "grounds"


def test_points_stand_where_their_values_are() -> None:
    """Each point's place, turned back by the axes' ends, is its time and value."""
    values = [0.0714, 0.2143, 0.3571, 0.5]
    tree = parse(line_chart("c", "Share", HOUR, [Series("share", minutes(*values))]))
    top = max(float(text.text or 0) for text in of_class(tree, "tick") if text.get("x") == "-8")
    dots = [each for each in of_class(tree, "target") if each.tag == "circle"]
    assert [top * (1 - float(dot.attrib["cy"][:-1]) / 100) for dot in dots] == pytest.approx(values, abs=1e-4)
    assert [float(dot.attrib["cx"][:-1]) for dot in dots] == pytest.approx([0, 100 / 6, 200 / 6, 50], abs=1e-3)
    assert [float(dot.attrib["data-value"]) for dot in dots] == values


def test_what_is_unknown_is_a_gap() -> None:
    """A point without a value breaks the line in two and gets no dot, least of all at 0."""
    tree = parse(line_chart("c", "Share", HOUR, [Series("share", minutes(0.1, 0.1, None, 0.2, 0.2))]))
    (path,) = of_class(tree, "line")
    assert path.attrib["d"].count("M") == 2
    assert len([each for each in of_class(tree, "target") if each.tag == "circle"]) == 4


def test_a_point_alone_is_seen() -> None:
    """Between two gaps a line has no length, so a dot stands there, even where the line is long."""
    tree = parse(line_chart("c", "Share", HOUR, [Series("share", minutes(*[0.1, 0.1] * 20, None, 0.2, None))]))
    assert len(of_class(tree, "dot")) == 1


def test_threshold_and_markers_are_drawn() -> None:
    """The threshold is a line of its own, and a marker says what happened and when, with its state's shape."""
    marker = Marker(NOON + timedelta(minutes=30), "Retrain the model", "act")
    drawn = line_chart(
        "c", "S", HOUR, [Series("s", minutes(0.1))], threshold=Series("t", minutes(0.3, 0.3)), markers=[marker]
    )
    tree = parse(drawn)
    assert len(of_class(tree, "threshold")) == 1
    (drawn_marker,) = of_class(tree, "marker")
    assert drawn_marker.findtext("title") == "Retrain the model, 1 Mar 2026, 12:30 UTC"
    assert drawn_marker.find("line").attrib["x1"] == "50%"  # type: ignore[union-attr]  # it is there, or this fails


def test_state_bands_differ_by_more_than_colour() -> None:
    """Each state has its own height or outline, and each band says its state and times in words."""
    times = [NOON + timedelta(minutes=15 * number) for number in range(5)]
    bands = [Band(times[n], times[n + 1], state) for n, state in enumerate(["ok", "watch", "act", "unknown"])]
    drawn = of_class(parse(state_timeline("c", "Verdicts", HOUR, {"Quality": bands})), "band")
    assert len({(each.get("height"), "unknown" in each.attrib["class"]) for each in drawn}) == 4
    assert drawn[1].findtext("title") == "Quality: watch, 1 Mar 2026, 12:15 UTC to 1 Mar 2026, 12:30 UTC"


def test_charts_say_themselves_to_who_cannot_see_them() -> None:
    """A chart is one image with a title and a sentence on each line."""
    tree = parse(line_chart("c", "Latency", HOUR, [Series("p95", minutes(2, 9, 4), 2)], show="{:g} ms".format))
    assert tree.get("role") == "img"
    assert (tree.findtext("title"), tree.findtext("desc")) == ("Latency", "p95: last 4 ms, from 2 ms to 9 ms")


def test_names_in_charts_are_escaped() -> None:
    """A hostile name stays text."""
    drawn = line_chart("c", HOSTILE, HOUR, [Series(HOSTILE, minutes(1))], markers=[Marker(NOON, HOSTILE)])
    assert "<script" not in drawn + state_timeline("d", HOSTILE, HOUR, {HOSTILE: [Band(NOON, NOON, "ok")]})
