"""The page of `leeway demo` in a real browser, opened as a file."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page

from cli.demo.page import render
from tests.browser.visits import Point, Visitor, focusable, overflow, points, tabbed
from tests.cli.demo.example_run import COMMANDS, FILES, evidence

QUANTILES = ("p50", "p95", "p99")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of a complete story."""
    path = tmp_path_factory.mktemp("demo") / "index.html"
    path.write_text(render(evidence(), FILES, COMMANDS), encoding="utf-8")
    return path.as_uri()


def data_of(page: Page) -> dict[str, Any]:
    """The page's data."""
    found: dict[str, Any] = json.loads(page.locator("#data").text_content() or "")
    return found


def latencies(data: dict[str, Any], quantile: str) -> list[float]:
    """One quantile of the data, in order of time."""
    return [each["latency"][quantile] for each in data["figures"] if each["latency"][quantile] is not None]


def at_scale(drawn: list[Point]) -> list[float]:
    """The expected heights of the points, relative to the highest."""
    top = max(drawn, key=lambda point: point.value)
    return [top.y * point.value / top.value for point in drawn]


def test_page_renders(visitor: Visitor, address: str) -> None:
    """The headline is the recommendation, and no drawing is empty."""
    page = visitor.open(address)
    assert page.inner_text("h1").strip() == "Retrain the model"
    sizes = page.evaluate("[...document.querySelectorAll('svg[role=img]')].map(each => each.clientWidth)")
    assert len(sizes) > 8
    assert min(sizes) > 20


def test_charts_hold_the_pages_data(visitor: Visitor, address: str) -> None:
    """Latency, share and ROC AUC are drawn with the values that the page's data have."""
    page = visitor.open(address)
    data = data_of(page)
    for quantile in QUANTILES:
        assert [point.value for point in points(page, "latency", quantile)] == latencies(data, quantile)
    assert [point.value for point in points(page, "share", "share")] == [run["share"] for run in data["runs"]]
    areas = [area for run in data["runs"] if (area := run["performance"]["figures"]["roc_auc"]["current"]) is not None]
    assert [point.value for point in points(page, "performance", "ROC AUC")] == areas


@pytest.mark.parametrize(("chart", "series"), [*(("latency", each) for each in QUANTILES), ("performance", "ROC AUC")])
def test_points_are_positioned_by_their_values(visitor: Visitor, address: str, chart: str, series: str) -> None:
    """On the screen a point's height grows in proportion to its value."""
    drawn = points(visitor.open(address), chart, series)
    assert [point.y for point in drawn] == pytest.approx(at_scale(drawn), abs=0.01)


def test_latency_and_drift_share_one_time_axis(visitor: Visitor, address: str) -> None:
    """Both charts have the same time axis on the screen: a drift run is aligned with the latency at its time."""
    page = visitor.open(address)
    data = data_of(page)
    times = [*(each["at"] for each in data["figures"]), *(run["current"]["to"] for run in data["runs"])]
    drawn = [*points(page, "latency", "p95"), *points(page, "share", "share")]
    together = sorted(zip(map(datetime.fromisoformat, times), drawn, strict=True), key=lambda each: each[0])
    places = [point.x for _, point in together]
    assert places == pytest.approx(sorted(places), abs=0.002)


def test_a_phone_shows_it_without_scrolling_sideways(phone: Visitor, address: str) -> None:
    """At 390 pixels the page is no wider than its window, collapsed and expanded."""
    page = phone.open(address)
    assert overflow(page) == 0
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert overflow(page) == 0


def test_the_keyboard_reaches_everything(visitor: Visitor, address: str) -> None:
    """Tab reaches each link, fold and scrollable part in order, and the focus is always visible."""
    page = visitor.open(address)
    count = focusable(page)
    reached = tabbed(page, count)
    assert count > 8
    assert [each["place"] for each in reached] == list(range(count))
    assert [each["text"] for each in reached if not (each["outlined"] and each["inSight"])] == []
