from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from drift.report.page import history, page_environment, page_policy, render_index, render_run
from drift.report.page.axis import TimeAxis, value_axis
from drift.report.page.chart import Band, ChartLine, Marker, Stretch, line_chart, state_timeline
from drift.result import RunResult, read_result
from tests.drift.documents import NOON, TRACE, feature, result, run_id, unknown, verdict
from tests.drift.documents import history as a_history

HOSTILE = '"><script>alert(1)</script>'
HOUR = TimeAxis(NOON, NOON + timedelta(hours=1))


def summaries(*documents: dict[str, Any]) -> list[RunResult]:
    """The runs of these documents, newest first, as `ReportFolder.runs` has them."""
    return sorted(map(read_result, documents), key=lambda run: run.time, reverse=True)


def parse(svg: Markup) -> ET.Element:
    """The drawing as a tree; raises if it is not well-formed."""
    return ET.fromstring(svg)  # noqa: S314 (we drew it ourselves)


def of_class(tree: ET.Element, name: str) -> list[ET.Element]:
    """All elements below with this class among theirs."""
    return [each for each in tree.iter() if name in each.get("class", "").split()]


def minutes(*values: float | None) -> list[tuple[datetime, float | None]]:
    """Points ten minutes apart, from noon."""
    return [(NOON + timedelta(minutes=10 * number), value) for number, value in enumerate(values)]


def visible(page: str) -> str:
    """The text of a page without its tags and style."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)).split())


# --- pages ----------------------------------------------------------------------------------------------------------


def test_headline_is_the_newest_recommendation() -> None:
    """The headline is the recommendation of the newest run, with its reason."""
    page = render_index(summaries(*a_history()), ())
    assert re.search(r"<h1>.*Retrain the model</h1>\s*<p class=\"reason\">The drift share 0.43 is at or above", page)


def test_index_shows_each_run() -> None:
    """Window in UTC, subjects, share, evidence, features with score and threshold, and links."""
    page = render_index(summaries(result(4)), {f"{run_id(4)}/report.html"}, trace_url="http://jaeger.example/trace/")
    text = visible(page)
    for expected in (
        "1 Mar 2026, 11:49–12:04 UTC",
        "1,204 subjects",
        "0.07 share",
        "87 labels so far",
        "0.460 / 0.100",
    ):
        assert expected in text
    assert f'href="runs/{run_id(4)}/report.html"' in page
    assert f'href="http://jaeger.example/trace/{TRACE}"' in page


def test_links_lead_only_to_what_exists() -> None:
    """Without a report there is no link to one, and without a base for traces the id is text."""
    page = render_index(summaries(result()), (), trace_url="javascript:alert(1)")
    assert "report.html" not in page
    assert "javascript:" not in page
    assert f"<code>{TRACE}</code>" in page


def test_unknown_shows_the_reason_and_the_last_known_run() -> None:
    """An UNKNOWN run shows n/a, never 0, and the last run that compared a window."""
    text = visible(render_index(summaries(result(1, drifted=2), unknown(2)), ()))
    assert "Drift unknown 112 subjects are too few to compare; at least 200 are needed." in text
    assert "drift share n/a" in text
    assert "Last known: No action needed, drift share 0.14, 1 Mar 2026, 12:01 UTC" in text


def test_an_empty_index_explains_itself() -> None:
    """Before the first run the page says what will appear, and when."""
    text = visible(render_index([], ()))
    assert "No run yet" in text
    assert "within one interval" in text


def test_a_served_page_shows_its_age() -> None:
    """With the current time the page shows the age of the newest run; a file does not."""
    runs = summaries(result())
    assert "(2 hours ago)" in visible(render_index(runs, (), now=NOON + timedelta(minutes=130)))
    assert "ago" not in visible(render_index(runs, ()))


def test_run_page_has_every_feature() -> None:
    """All features, furthest first, with n/a for what cannot be computed, and remarks."""
    document = result(drifted=2)
    document["features"][3] = feature("plan_stream_tv", None, detected=True, missing={"reference": 0.2, "current": 1})
    document["features"][5] |= {"new_categories": ["satellite"], "constant": True}
    page = render_run(read_result(document), ())
    rows = [visible(row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) if "<td" in row]
    assert len([row for row in rows if "Wasserstein" in row or "Jensen–Shannon" in row]) == 14
    assert "n/a 0.1000 Jensen–Shannon 20.0 % → 100.0 % 0.2 % drifted entirely missing" in rows[0]
    assert any("constant new: satellite" in row for row in rows)


def test_segments_are_a_heat_map() -> None:
    """A row a segment and a column a feature, coloured by how far the feature is; n/a where it was not compared."""
    far, near = feature("skips_7d", 0.4), feature("monthly_fee", 0.06)
    segments = [
        {"value": "north", "subjects": 1_204, "share": 0.5, "verdict": verdict("act", ""), "features": [far, near]},
        {"value": "south", "subjects": 9, "share": None, "verdict": verdict("unknown", "")},
    ]
    document = result(segments={"by": "region", "segments": segments}, features=[far, near])
    page = render_run(read_result(document), ())
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition('class="heat"')[2].partition("</table>")[0], re.DOTALL)
    assert visible(page).count("Segments by region") == 1
    assert [visible(row) for row in rows[1:]] == ["north act 1,204 0.50 4.0 0.6", "south unknown 9 n/a n/a n/a"]
    assert re.findall(r"heat-(\d)", rows[1]) == ["4", "1"]
    assert "heat-" not in rows[2]


def test_nothing_from_a_result_becomes_markup() -> None:
    """Names and sentences with tags in them are shown as text, on both pages."""
    document = result(trace_id=HOSTILE)
    document["features"][0] |= {"feature": HOSTILE, "new_categories": [HOSTILE]}
    document["verdicts"]["quality"] = verdict("ok", HOSTILE)
    run = read_result(document | {"reason": HOSTILE, "model": {"name": HOSTILE, "version": HOSTILE}})
    for trace_url in (None, f"http://x/{HOSTILE}"):
        page = render_index([run], (), trace_url=trace_url, singles=[HOSTILE]) + render_run(
            run, (), trace_url=trace_url
        )
        assert "alert(1)" in page
        assert "<script" not in page


def test_pages_load_nothing() -> None:
    """No script, no address to load from, and a policy that forbids both."""
    pages = render_index(summaries(*a_history()), ()) + render_run(read_result(result()), ())
    assert not re.search(r"<(script|img|iframe|object|embed)|@import|url\(|\bsrc=|style=\"", pages)
    assert set(re.findall(r"<link[^>]+href=\"([^\",]+)", pages)) == {"data:image/svg+xml"}
    assert "default-src 'none'" in page_policy()
    assert str(Markup.escape(page_policy())) in pages


def test_another_package_may_add_its_style() -> None:
    """Another page, such as the demo's, uses our charts and adds its style; the policy of our pages is unchanged."""
    more = "h1 { margin: 1px; }"
    template = '{% extends "base.html.j2" %}{% block title %}t{% endblock %}{% block body %}{{ main }}{% endblock %}'
    chart = line_chart("latency", "Latency", HOUR, [ChartLine("p95", minutes(2, 3))])
    page = page_environment(more_style=more).from_string(template).render(main=chart)
    assert 'id="latency" class="chart" role="img"' in page
    digest = hashlib.sha256(page[page.index("<style>") + 7 : page.index("</style>")].encode()).digest()
    assert more in page
    assert base64.b64encode(digest).decode() in page_policy(more) != page_policy()
    assert more not in render_run(read_result(result()), ())


# --- runs over time -------------------------------------------------------------------------------------------------


def test_missing_runs_are_a_gap() -> None:
    """If no run finished for three intervals the line and the bands have a gap."""
    runs = summaries(*(result(number) for number in [*range(20), *range(60, 80)]))[::-1]
    axis = history.time_axis(runs)
    assert of_class(parse(history.share_chart(runs, axis)), "line")[0].attrib["d"].count("M") == 2
    quality = [each for each in of_class(parse(history.verdict_chart(runs, axis)), "band") if "Quality" in each[0].text]  # type: ignore[operator]  # a band has its title first
    assert len(quality) == 2


def test_the_share_chart_shows_the_results() -> None:
    """The chart's values are those of the results; an UNKNOWN run has none."""
    runs = summaries(*a_history())[::-1]
    tree = parse(history.share_chart(runs, history.time_axis(runs)))
    drawn = [float(each.attrib["data-value"]) for each in of_class(tree, "tone-1")[-1] if each.get("data-value")]
    assert drawn == [run.share for run in runs if run.share is not None]
    assert len(drawn) == len(runs) - 6


def test_changes_of_the_recommendation_are_marked() -> None:
    """One marker for each change, in order."""
    runs = summaries(*a_history())[::-1]
    said = [each.findtext("title") or "" for each in of_class(parse(history.share_chart(runs, HOUR)), "marker")]
    assert [each.split(",")[0] for each in said] == [
        "Drift unknown",
        "No action needed",
        "Investigate",
        "Retrain the model",
    ]


def test_an_old_run_does_not_squeeze_the_axis() -> None:
    """A RETRAIN kept from a month ago is listed, but not in today's charts."""
    old = result(1_000, current={"from": "2026-01-29T00:00:00Z", "to": "2026-01-29T00:15:00Z"})
    runs = summaries(old, *(result(number) for number in range(10)))
    assert [run.run_id for run in history.recent(runs)] == [run_id(number) for number in range(10)]
    page = render_index(runs, ())
    assert "1 older run is not in these charts, because of a long gap" in visible(page)
    assert run_id(1_000) in page


def test_bar_shows_score_against_its_own_threshold() -> None:
    """The vertical line is at the threshold and the bar ends at the score, on the same scale."""
    found = read_result(result(features=[feature("skips_7d", 0.3, threshold=0.2)])).features[0]
    tree = parse(history.bar(found, 3.0))
    (bar,), upright = of_class(tree, "over"), tree.findall("line")[0]
    assert float(bar.attrib["width"][:-1]) / float(upright.attrib["x1"][:-1]) == pytest.approx(1.5, abs=1e-3)


# --- charts ---------------------------------------------------------------------------------------------------------


def test_points_carry_their_data() -> None:
    """Each point has its series, time and value as data attributes."""
    tree = parse(
        line_chart("c", "Share", HOUR, [ChartLine("a", minutes(0.1, None, 0.3)), ChartLine("b", minutes(0.5))])
    )
    carried = [
        (each.attrib["data-series"], each.attrib["data-time"], float(each.attrib["data-value"]))
        for each in of_class(tree, "target")
        if each.tag == "circle"
    ]
    noon, later = NOON.isoformat(), (NOON + timedelta(minutes=20)).isoformat()
    assert carried == [("a", noon, 0.1), ("a", later, 0.3), ("b", noon, 0.5)]


def test_stretches_lie_under_lines_and_bands() -> None:
    """A named stretch is drawn first, from its start to its end; every second one is shaded."""
    quarter = timedelta(minutes=15)
    stretches = [
        Stretch(NOON + number * quarter, NOON + (number + 1) * quarter, f"act {number}") for number in range(2)
    ]
    for drawn in (
        line_chart("c", "Share", HOUR, [ChartLine("a", minutes(0.1))], stretches=stretches),
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


def test_points_are_at_their_values() -> None:
    """Each point's position corresponds to its time and value."""
    values = [0.0714, 0.2143, 0.3571, 0.5]
    tree = parse(line_chart("c", "Share", HOUR, [ChartLine("share", minutes(*values))]))
    top = max(float(text.text or 0) for text in of_class(tree, "tick") if text.get("x") == "-8")
    dots = [each for each in of_class(tree, "target") if each.tag == "circle"]
    assert [top * (1 - float(dot.attrib["cy"][:-1]) / 100) for dot in dots] == pytest.approx(values, abs=1e-4)
    assert [float(dot.attrib["cx"][:-1]) for dot in dots] == pytest.approx([0, 100 / 6, 200 / 6, 50], abs=1e-3)
    assert [float(dot.attrib["data-value"]) for dot in dots] == values


def test_an_unknown_value_is_a_gap() -> None:
    """A point without a value breaks the line in two and has no dot."""
    tree = parse(line_chart("c", "Share", HOUR, [ChartLine("share", minutes(0.1, 0.1, None, 0.2, 0.2))]))
    (path,) = of_class(tree, "line")
    assert path.attrib["d"].count("M") == 2
    assert len([each for each in of_class(tree, "target") if each.tag == "circle"]) == 4


def test_an_isolated_point_is_a_dot() -> None:
    """Between two gaps a line has no length, so a dot is drawn, even on a long line."""
    tree = parse(line_chart("c", "Share", HOUR, [ChartLine("share", minutes(*[0.1, 0.1] * 20, None, 0.2, None))]))
    assert len(of_class(tree, "dot")) == 1


def test_threshold_and_markers_are_drawn() -> None:
    """The threshold has its own line, and a marker has a label, a time and its state's shape."""
    marker = Marker(NOON + timedelta(minutes=30), "Retrain the model", "act")
    drawn = line_chart(
        "c", "S", HOUR, [ChartLine("s", minutes(0.1))], threshold=ChartLine("t", minutes(0.3, 0.3)), markers=[marker]
    )
    tree = parse(drawn)
    assert len(of_class(tree, "threshold")) == 1
    (drawn_marker,) = of_class(tree, "marker")
    assert drawn_marker.findtext("title") == "Retrain the model, 1 Mar 2026, 12:30 UTC"
    assert drawn_marker.find("line").attrib["x1"] == "50%"  # type: ignore[union-attr]  # it is there, or this fails


def test_state_bands_differ_by_more_than_colour() -> None:
    """Each state has its own height or outline, and each band has a title with its state and times."""
    times = [NOON + timedelta(minutes=15 * number) for number in range(5)]
    bands = [Band(times[n], times[n + 1], state) for n, state in enumerate(["ok", "watch", "act", "unknown"])]
    drawn = of_class(parse(state_timeline("c", "Verdicts", HOUR, {"Quality": bands})), "band")
    assert len({(each.get("height"), "unknown" in each.attrib["class"]) for each in drawn}) == 4
    assert drawn[1].findtext("title") == "Quality: watch, 1 Mar 2026, 12:15 UTC to 1 Mar 2026, 12:30 UTC"


def test_charts_have_a_text_alternative() -> None:
    """A chart is one image with a title and a description of each line."""
    tree = parse(line_chart("c", "Latency", HOUR, [ChartLine("p95", minutes(2, 9, 4), 2)], show="{:g} ms".format))
    assert tree.get("role") == "img"
    assert (tree.findtext("title"), tree.findtext("desc")) == ("Latency", "p95: last 4 ms, from 2 ms to 9 ms")


def test_names_in_charts_are_escaped() -> None:
    """A hostile name stays text."""
    drawn = line_chart("c", HOSTILE, HOUR, [ChartLine(HOSTILE, minutes(1))], markers=[Marker(NOON, HOSTILE)])
    assert "<script" not in drawn + state_timeline("d", HOSTILE, HOUR, {HOSTILE: [Band(NOON, NOON, "ok")]})


# --- axes -----------------------------------------------------------------------------------------------------------


def test_short_axes_show_seconds() -> None:
    """On an axis of minutes times are shown to the second, on a longer one to the minute."""
    assert TimeAxis(NOON, NOON + timedelta(seconds=50)).say(NOON + timedelta(seconds=7)) == "12:00:07 UTC"
    assert HOUR.say(NOON + timedelta(seconds=7)) == "1 Mar 2026, 12:00 UTC"


@pytest.mark.parametrize("span_s", [0, 1, 40, 900, 6_400, 86_400, 800_000, 40_000_000, 2_000_000_000])
def test_time_ticks_are_few_and_inside(span_s: float) -> None:
    """For any span there are at most seven labels, all on the axis and in order."""
    places = [tick.place for tick in TimeAxis(NOON, NOON + timedelta(seconds=span_s)).ticks()]
    assert len(places) <= 7
    assert places == sorted(places)


@pytest.mark.parametrize("highest", [1e-9, 0.003, 0.07, 0.3, 1.0, 4.6, 950.0, 1e12])
def test_value_axis_has_room_and_round_steps(highest: float) -> None:
    """The highest value is inside, uses at least half of the height, and there are three to seven labels."""
    axis = value_axis([highest], str)
    assert highest < axis.top <= 2 * highest
    assert 3 <= len(axis.ticks()) <= 7
