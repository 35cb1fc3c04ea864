from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from cli.demo import words
from cli.demo.page import render
from drift.result import Performance
from leeway.model.figures import Figure
from leeway.telemetry import names
from tests.cli.demo.example_run import COMMANDS, FILES, a_run, a_span, acts, evidence
from tests.drift.documents import run_id

HOSTILE = '</script><script>alert("&")</script>'


@pytest.fixture(scope="module")
def page() -> str:
    """The page of a complete story."""
    return render(evidence(), FILES, COMMANDS)


@pytest.fixture(scope="module")
def data(page: str) -> dict[str, Any]:
    """The page's data."""
    return data_of(page)


def data_of(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def area_of(run: dict[str, Any]) -> float | None:
    """A run's ROC AUC in the page's data."""
    area: float | None = run["performance"]["figures"]["roc_auc"]["current"]
    return area


def lasted_ms(span: dict[str, Any]) -> float:
    """A span's duration in the page's data."""
    start, end = (datetime.fromisoformat(span[name]) for name in ("start_time", "end_time"))
    return (end - start).total_seconds() * 1_000


def drawing(page: str, key: str) -> ET.Element:
    """One SVG of the page; it is well-formed."""
    start = (
        page.index(f'<svg id="{key}"')
        if f'<svg id="{key}"' in page
        else page.rindex("<svg", 0, page.index(f' id="{key}"'))
    )
    depth, end = 0, start
    for match in re.finditer(r"<svg\b|</svg>", page[start:]):
        depth += 1 if match[0] == "<svg" else -1
        if not depth:
            end = start + match.end()
            break
    return ET.fromstring(page[start:end])  # noqa: S314 (we drew it ourselves)


def carriers(page: str, key: str, attribute: str) -> list[dict[str, str]]:
    """The attributes of all elements in one SVG that carry this one."""
    return [each.attrib for each in drawing(page, key).iter() if attribute in each.attrib]


def visible(page: str) -> str:
    """The text of a page without its tags, style and data."""
    plain = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", plain).split())


def test_the_page_begins_with_the_result(page: str) -> None:
    """The headline is the recommendation, and the reason says that only labels show it."""
    match = re.search(r"<h1>.*?</h1>\s*<p class=\"reason\">(.*?)</p>", page, re.DOTALL)
    assert match is not None
    assert "Retrain the model" in match[0]
    assert match[1] == (
        "Answers take 8.0 ms (p95) and none of 14 features drifted, yet the model is no better than chance:"
        " ROC AUC 0.49, on its card 0.85. Only the labels show it."
    )


def test_the_page_loads_nothing(page: str) -> None:
    """Nothing is loaded, no script runs, and every link is to a file in the same folder."""
    assert not re.search(r"<(img|iframe|object|embed)|@import|url\(|\bsrc=|style=\"|\bon\w+=\"", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="data">']
    assert "default-src &#39;none&#39;" in page
    links = set(re.findall(r'<a[^>]+href="([^"]+)"', page))
    assert links
    assert not [link for link in links if not link.startswith(("reports/", "spans.jsonl"))]


def test_the_policy_allows_the_style(page: str) -> None:
    """The style sheet has the digest of the page's content security policy, or browsers would ignore it."""
    match = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert match is not None
    assert base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode() in page


@pytest.mark.parametrize("quantile", ["p50", "p95", "p99"])
def test_latency_chart_is_its_data(page: str, data: dict[str, Any], quantile: str) -> None:
    """The chart's points of a quantile are those of the data, in time and value."""
    drawn = [
        (each["data-time"], float(each["data-value"]))
        for each in carriers(page, "latency", "data-series")
        if each["data-series"] == quantile
    ]
    assert drawn == [(each["at"], each["latency"][quantile]) for each in data["figures"]]


def test_share_and_area_charts_are_their_data(page: str, data: dict[str, Any]) -> None:
    """The charts of share and ROC AUC show each run with a value, and nothing else."""
    shares, areas = (
        [float(each["data-value"]) for each in carriers(page, key, "data-series") if each["data-series"] == series]
        for key, series in (("share", "share"), ("performance", "ROC AUC"))
    )
    assert shares == [run["share"] for run in data["runs"]]
    assert areas == [area for area in map(area_of, data["runs"]) if area is not None]


def test_acts_and_recommendations_are_marked(page: str, data: dict[str, Any]) -> None:
    """The acts are on the time axis from start to end, and each new recommendation at its time."""
    assert [(each["data-from"], each["data-to"]) for each in carriers(page, "acts", "data-act")] == [
        (act["start"], act["end"]) for act in data["acts"]
    ]
    changed = [
        (after["current"]["to"], after["recommendation"])
        for before, after in zip([{"recommendation": "NO_ACTION"}, *data["runs"]], data["runs"], strict=False)
        if before["recommendation"] != after["recommendation"]
    ]
    marks = [each["data-time"] for each in carriers(page, "latency", "data-state")]
    assert (len(changed), marks) == (3, [moment for moment, _ in changed])


def test_kinds_of_input_are_compared(page: str, data: dict[str, Any]) -> None:
    """Each act has a bar for usual and one for unusual input, with its p95 and number of requests."""
    drawn = [
        (int(each["data-act"]), each["data-kind"], float(each["data-value"]), int(each["data-count"]))
        for each in carriers(page, "kinds", "data-kind")
    ]
    assert drawn == [
        (act["number"], kind, found["p95"], found["count"])
        for act in data["acts"]
        for kind, found in act["figures"]["by_kind"].items()
    ]


@pytest.mark.parametrize(("key", "member"), [("slow-trace", "slow"), ("run-trace", "run_trace")])
def test_waterfalls_are_their_traces(page: str, data: dict[str, Any], key: str, member: str) -> None:
    """Each span of a trace has a bar as long as its duration, on the scale of the root span."""
    bars = carriers(page, key, "data-span")
    assert [(each["data-span"], float(each["data-ms"])) for each in bars] == [
        (span["name"], lasted_ms(span)) for span in data[member]
    ]
    whole = lasted_ms(data[member][0])
    widths = [float(each["width"][:-1]) for each in bars]
    assert widths == pytest.approx([max(100 * lasted_ms(span) / whole, 0.25) for span in data[member]], abs=1e-2)


def test_histograms_are_their_data(page: str, data: dict[str, Any]) -> None:
    """A histogram's bars are the shares before, and its outline the shares after."""
    drawn = carriers(page, "feature-skips_7d", "data-share")
    for kind in ("before", "after"):
        shares = [float(each["data-share"]) for each in drawn if each["class"] == kind]
        assert shares == data["shifts"][0][kind]


def test_the_slow_trace_is_explained(page: str) -> None:
    """Above the waterfall, a sentence says which part took the time and which fault the span names."""
    sentence = "score took 81.0 ms of 90.0 ms; the span names the cause: feature_flag.key = slow_scoring, 80 ms."
    assert sentence in visible(page)


def test_a_fault_without_a_value_is_named_alone() -> None:
    """A fault that is not a delay has no value after its name."""
    struck = a_span("POST /predict", "a1", attributes={names.FLAG_KEY: "errors", names.FLAG_VARIANT: "on"})
    assert words.where_it_went([struck]) == "the span names the cause: feature_flag.key = errors"


def test_the_run_links_to_its_predictions(page: str) -> None:
    """The predictions that the run links to are listed with their unusual features and traces."""
    assert "12:00:15 UTC POST /predict 2 skips_7d, watch_hours_30d " + "2" * 32 in visible(page)


def test_existing_reports_are_linked(page: str) -> None:
    """A run links to Evidently's report only if it exists."""
    assert re.findall(r'href="reports/runs/([^/]+)/report.html"', page) == [run_id(6), run_id(2)]
    assert len(re.findall(r'href="reports/runs/([^/]+)/index.html"', page)) == 6


def test_the_page_says_how_it_was_measured(page: str) -> None:
    """The footer has the windows of latency and comparisons, and their intervals, of this run."""
    assert "histogram over the last 3 s, read from /metrics every 0.5 s" in visible(page)
    assert "compared the last 5.78 s every 2 s" in visible(page)


def test_the_page_has_commands_to_try(page: str) -> None:
    """The next commands are listed with their descriptions."""
    assert "Serve this model again leeway serve --bundle demo/bundle" in visible(page)


def test_ids_are_unique(page: str) -> None:
    """Ids are unique, so that each drawing's label refers to its own title."""
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 10


def test_text_is_escaped() -> None:
    """Tags in names are escaped, in the page and in its data."""
    page = render(evidence(model=HOSTILE, slow=[a_span(HOSTILE, "a1")]), (), [(HOSTILE, HOSTILE)])
    assert page.count("<script") == 1
    assert data_of(page)["model"] == HOSTILE


def test_missing_parts_are_left_out() -> None:
    """Without a slow request, a drifted run or predictions, the page is shorter and still complete."""
    page = render(evidence(slow=[], run_trace=[], linked=[], shifts=[]), (), [])
    assert "From the spike" not in page
    assert "before and after" not in page
    assert "Try next" in page


def test_a_page_without_runs_says_so() -> None:
    """Without any drift run the page says that the result is unknown."""
    complete = evidence()
    lone = [type(each)(each.number, each.act, each.start, each.end, each.figures, None) for each in complete.acts]
    text = visible(render(evidence(runs=[], acts=lone, shifts=[]), (), []))
    assert "Drift unknown" in text
    assert "The drift worker had too little data for a comparison." in text


@pytest.mark.parametrize(("figure", "title"), [("accuracy", "accuracy"), ("mae", "MAE")])
def test_a_model_of_another_task_has_its_own_figure(figure: Figure, title: str) -> None:
    """The chart, the table and the sentences show the first figure of the task, and chance is not spoken of."""
    runs = []
    for run in evidence().runs:
        measured = run.performance.figures["roc_auc"]
        runs.append(replace(run, performance=Performance({figure: measured}, labels=800)))
    seen = evidence(runs=runs, acts=list(acts(runs)))
    page = visible(render(seen, FILES, COMMANDS))
    assert f"Model performance: {title} on the newest labels" in page
    assert f"yet the model is worse than on its card: {title} 0.49, on its card 0.85" in page
    assert f"{title} 0.84: investigate" in "\n".join(words.closing(seen))
    assert "ROC AUC" not in page
    assert "chance" not in page


def test_another_result_has_its_own_reason() -> None:
    """If the performance verdict is not act, the conclusion is the last run's reason."""
    last = a_run(9, 58, drifted=1)
    assert words.conclusion(evidence(runs=[last])) == last.reason


def test_the_closing_lines_sum_up_each_act() -> None:
    """The terminal's last lines have each act's figures, compare drift and slowness, and give the result."""
    lines = list(words.closing(evidence()))
    assert lines[0] == "2,600 requests, none failed; 5,000 labels."
    assert "  2. Inputs drift: p95 8.0 ms, drift share 0.43, ROC AUC 0.84: investigate." in lines
    assert "  4. Slow scoring: p95 95.0 ms, drift share 0.00, ROC AUC 0.84: no action needed." in lines
    assert "While scoring was slow, p95 was 95.0 ms, and the share was 0.00." in lines
    assert lines[-1].startswith("Result: Retrain the model. Answers take 8.0 ms (p95)")


def test_data_is_plain_json(data: dict[str, Any]) -> None:
    """Unknown values are null, and there is no NaN."""
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert area_of(data["runs"][0]) is None
