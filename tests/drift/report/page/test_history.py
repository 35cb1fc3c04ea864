from __future__ import annotations

import pytest

from drift.report.page import history, render_index
from drift.result import read_result
from tests.drift.documents import feature, result, run_id
from tests.drift.documents import history as a_history
from tests.drift.report.page.drawn import HOUR, of_class, parse, summaries, visible


def test_line_breaks_where_no_run_finished() -> None:
    """Where runs are missing for longer than three intervals the line has a gap, and so have the bands."""
    runs = summaries(*(result(number) for number in [*range(20), *range(60, 80)]))[::-1]
    axis = history.time_axis(runs)
    assert of_class(parse(history.share_chart(runs, axis)), "line")[0].attrib["d"].count("M") == 2
    quality = [each for each in of_class(parse(history.verdict_chart(runs, axis)), "band") if "Quality" in each[0].text]  # type: ignore[operator]  # a band has its title first
    assert len(quality) == 2


def test_share_chart_holds_the_results_shares() -> None:
    """The chart's values are those of the results, run by run; a run that could not tell has none."""
    runs = summaries(*a_history())[::-1]
    tree = parse(history.share_chart(runs, history.time_axis(runs)))
    drawn = [float(each.attrib["data-value"]) for each in of_class(tree, "tone-1")[-1] if each.get("data-value")]
    assert drawn == [run.share for run in runs if run.share is not None]
    assert len(drawn) == len(runs) - 6


def test_recommendations_are_marked_where_they_change() -> None:
    """One marker for each new recommendation, in order."""
    runs = summaries(*a_history())[::-1]
    said = [each.findtext("title") or "" for each in of_class(parse(history.share_chart(runs, HOUR)), "marker")]
    assert [each.split(",")[0] for each in said] == [
        "Drift unknown",
        "No action needed",
        "Investigate",
        "Retrain the model",
    ]


def test_an_old_run_does_not_squeeze_the_axis() -> None:
    """A RETRAIN kept from a month ago is not charted with today's runs, but listed."""
    old = result(1_000, current={"from": "2026-01-29T00:00:00Z", "to": "2026-01-29T00:15:00Z"})
    runs = summaries(old, *(result(number) for number in range(10)))
    assert [run.run_id for run in history.recent(runs)] == [run_id(number) for number in range(10)]
    page = render_index(runs, ())
    assert "1 older run is not in these charts, because of a long gap" in visible(page)
    assert run_id(1_000) in page


def test_bar_shows_score_against_its_own_threshold() -> None:
    """The upright stands at the threshold and the bar ends at the score, on the same scale."""
    found = read_result(result(features=[feature("skips_7d", 0.3, threshold=0.2)])).features[0]
    tree = parse(history.bar(found, 3.0))
    (bar,), upright = of_class(tree, "over"), tree.findall("line")[0]
    assert float(bar.attrib["width"][:-1]) / float(upright.attrib["x1"][:-1]) == pytest.approx(1.5, abs=1e-3)
