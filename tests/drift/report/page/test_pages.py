"""The pages: what they say is what the results hold, and they load nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta

from markupsafe import Markup

from drift.report.page import page_environment, page_policy, render_document, render_index, render_run
from drift.report.page.chart import Series, line_chart
from drift.result import read_result
from tests.drift.documents import NOON, TRACE, feature, result, run_id, unknown, verdict
from tests.drift.documents import history as a_history
from tests.drift.report.page.drawn import HOSTILE, HOUR, minutes, summaries, visible


def test_headline_is_the_newest_recommendation() -> None:
    """The first words are what to do and why, of the newest run."""
    page = render_index(summaries(*a_history()), ())
    assert re.search(r"<h1>.*Retrain the model</h1>\s*<p class=\"reason\">The drift share 0.43 is at or above", page)


def test_index_gives_each_run_its_facts() -> None:
    """A run has its window in UTC, subjects, share, evidence, features with score and threshold, and links."""
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
    """Without a report there is no link to one, and without a place for traces the id stands alone."""
    page = render_index(summaries(result()), (), trace_url="javascript:alert(1)")
    assert "report.html" not in page
    assert "javascript:" not in page
    assert f"<code>{TRACE}</code>" in page


def test_unknown_says_why_and_what_was_known() -> None:
    """A run that could not tell says so, shows n/a and never 0, and recalls the last one that could."""
    text = visible(render_index(summaries(result(1, drifted=2), unknown(2)), ()))
    assert "Drift unknown 112 subjects are too few to compare; at least 200 are needed." in text
    assert "drift share n/a" in text
    assert "Last known: No action needed, drift share 0.14, 1 Mar 2026, 12:01 UTC" in text


def test_empty_index_says_what_will_come() -> None:
    """Before the first run the page says what will appear here, and when."""
    text = visible(render_index([], ()))
    assert "No run yet" in text
    assert "within one interval" in text


def test_a_page_for_one_reader_says_how_old_it_is() -> None:
    """With the time at hand the age of the newest run is said; a file, which grows old, does not say it."""
    runs = summaries(result())
    assert "(2 hours ago)" in visible(render_index(runs, (), now=NOON + timedelta(minutes=130)))
    assert "ago" not in visible(render_index(runs, ()))


def test_run_page_has_every_feature() -> None:
    """All features, the farthest first, with n/a where nothing could be computed and what is odd in words."""
    document = result(drifted=2)
    document["features"][3] = feature("plan_stream_tv", None, detected=True, missing={"reference": 0.2, "current": 1})
    document["features"][5] |= {"new_categories": ["satellite"], "constant": True}
    page = render_run(read_result(document), ())
    rows = [visible(row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) if "<td" in row]
    assert len([row for row in rows if "Wasserstein" in row or "Jensen–Shannon" in row]) == 14
    assert "n/a 0.1000 Jensen–Shannon 20.0 % → 100.0 % 0.2 % drifted entirely missing" in rows[0]
    assert any("constant new: satellite" in row for row in rows)


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


def test_document_has_the_same_look_around_other_charts() -> None:
    """Another page, such as the demo's, takes the charts and the style as they are."""
    page = render_document("Demo & drift", line_chart("latency", "Latency", HOUR, [Series("p95", minutes(2, 3))]))
    assert "<title>Demo &amp; drift</title>" in page
    assert 'id="latency" class="chart" role="img"' in page


def test_another_package_may_add_its_style() -> None:
    """A page with a style sheet of its own allows that one too, and our own pages' policy stays as it is."""
    more = "h1 { margin: 1px; }"
    page = page_environment(more_style=more).get_template("document.html.j2").render(title="t", main="m")
    digest = hashlib.sha256(page[page.index("<style>") + 7 : page.index("</style>")].encode()).digest()
    assert more in page
    assert base64.b64encode(digest).decode() in page_policy(more) != page_policy()
    assert more not in render_document("t", Markup("m"))
