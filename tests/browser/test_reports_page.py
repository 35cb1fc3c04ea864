"""The drift reports page in a real browser: as the worker's server shows it, and as files opened from a disk."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from drift.report.folder import ReportFolder
from tests.browser.visits import Visitor, focusable, overflow, points, tabbed
from tests.drift.documents import history, run_id

NEWEST = history()[-1]
RUN = f"runs/{NEWEST['run_id']}/index.html"

Address = Callable[[str], str]


@pytest.fixture
def address(site: str) -> Address:
    """The address of a served report page."""
    return lambda name: f"{site}/{name}"


@pytest.fixture(params=["served", "file"])
def either_address(request: pytest.FixtureRequest, site: str, folder: ReportFolder) -> Address:
    """The address of a report page, served and as a file: for what may differ, not for what both pages hold."""
    base = f"{site}/" if request.param == "served" else f"{folder.path.as_uri()}/"
    return lambda name: base + name


EACH_PAGE = pytest.mark.parametrize("name", ["index.html", RUN], ids=["index", "run"])


@EACH_PAGE
def test_page_renders(visitor: Visitor, either_address: Address, name: str) -> None:
    """The headline is the newest recommendation, the four verdicts follow, and no drawing is empty."""
    page = visitor.open(either_address(name))
    assert page.inner_text("h1").strip() == "Retrain the model"
    assert [each.split()[0].upper() for each in page.locator(".verdicts").first.locator("dt").all_inner_texts()] == [
        "QUALITY",
        "COVARIATE",
        "PREDICTION",
        "PERFORMANCE",
    ]
    assert page.evaluate("[...document.querySelectorAll('svg[role=img]')].every(each => each.clientWidth > 20)")


def test_the_style_is_applied(visitor: Visitor, either_address: Address) -> None:
    """The page's content security policy allows its style sheet."""
    page = visitor.open(either_address("index.html"))
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 50


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_headline_can_be_read(visitor: Visitor, address: Address, scheme: Any) -> None:  # noqa: ANN401 (Playwright's own literal)
    """In light and dark, the contrast of the reason is at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    page = visitor.open(address("index.html"))
    page.emulate_media(color_scheme=scheme)
    assert contrast(page, ".headline .reason") >= 4.5


def test_the_chart_holds_the_results_values(visitor: Visitor, address: Address) -> None:
    """The share chart's points are the shares of the results, run by run; an unknown run has none."""
    page = visitor.open(address("index.html"))
    assert [each.value for each in points(page, "share")][: len(shares())] == shares()


def test_points_are_positioned_by_their_values(visitor: Visitor, address: Address) -> None:
    """On the screen a point's height grows in proportion to its value, and its horizontal position with its time."""
    page = visitor.open(address("index.html"))
    drawn = points(page, "share")[: len(shares())]
    scale = max(point.y / point.value for point in drawn)
    assert [point.y for point in drawn] == pytest.approx([scale * each for each in shares()], abs=0.005)
    assert [point.x for point in drawn] == sorted(point.x for point in drawn)
    assert drawn[-1].x == pytest.approx(1.0, abs=0.005)


def test_bars_are_as_long_as_their_scores(visitor: Visitor, address: Address) -> None:
    """On a run's page each bar's length is score ÷ threshold, relative to its vertical line at 1."""
    page = visitor.open(address(RUN))
    drawn = page.evaluate(
        """() => [...document.querySelectorAll("td.plot svg")].map(bar => {
            const [track, filled] = [...bar.querySelectorAll("rect")].map(each => each.getBoundingClientRect());
            const upright = bar.querySelector("line").getBoundingClientRect();
            return filled.width / (upright.left + upright.width / 2 - track.left);
        })"""
    )
    wanted = sorted((each["score"] / each["threshold"] for each in NEWEST["features"]), reverse=True)
    assert drawn == pytest.approx(wanted, abs=0.05)


def test_the_table_holds_the_results_values(visitor: Visitor, address: Address) -> None:
    """On a run's page each feature has the score and the threshold of the result."""
    page = visitor.open(address(RUN))
    rows = [row.locator("td.n").all_inner_texts() for row in page.locator("tbody tr:has(td.plot)").all()]
    wanted = sorted(NEWEST["features"], key=lambda each: -each["score"])
    assert [row[:2] for row in rows] == [[f"{each['score']:.4f}", f"{each['threshold']:.4f}"] for each in wanted]


@EACH_PAGE
def test_a_phone_shows_it_without_scrolling_sideways(phone: Visitor, address: Address, name: str) -> None:
    """At 390 pixels the page is no wider than its window, also with all runs expanded."""
    page = phone.open(address(name))
    assert overflow(page) == 0
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert overflow(page) == 0


@EACH_PAGE
def test_the_keyboard_reaches_everything(visitor: Visitor, address: Address, name: str) -> None:
    """Tab reaches each link and each fold in order, and the focus is always visible."""
    page = visitor.open(address(name))
    count = focusable(page)
    reached = tabbed(page, count)
    assert count > 3
    assert [each["place"] for each in reached] == list(range(count))
    assert [each["text"] for each in reached if not (each["outlined"] and each["inSight"])] == []


def test_a_run_opens_by_the_keyboard(visitor: Visitor, either_address: Address) -> None:
    """Enter expands a run, and its link opens its page."""
    page = visitor.open(either_address("index.html"))
    second = page.locator("details").nth(1)
    second.locator("summary").focus()
    page.keyboard.press("Enter")
    second.locator(f"a[href='runs/{run_id(90)}/index.html']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{run_id(90)}/index.html")
    assert page.inner_text("h1").strip() == "Retrain the model"


def test_a_file_is_the_served_page(folder: ReportFolder, site: str) -> None:
    """A run's page is the same as a file and served; the index, rendered in one place too, tells when it was served."""
    with urllib.request.urlopen(f"{site}/{RUN}") as response:  # noqa: S310 (our own address)
        assert response.read() == (folder.path / RUN).read_bytes()


def test_external_requests_are_noticed(visitor: Visitor) -> None:
    """The visitor notices an external picture and a console message."""
    page = visitor.open("about:blank")
    page.set_content("<img src='http://example.org/x.png'><script>console.log('hello')</script>")
    page.wait_for_load_state("load")
    assert visitor.external == ["http://example.org/x.png"]
    assert "log: hello" in visitor.console
    visitor.external.clear()
    visitor.console.clear()


def shares() -> list[float]:
    """The shares of the results, oldest first."""
    return [each["share"] for each in history() if each["share"] is not None]


def contrast(page: Page, selector: str) -> float:
    """The contrast of a text and its background, as WCAG 2.2 defines it."""
    found: float = page.evaluate(
        """selector => {
            const channels = text => text.match(/[\\d.]+/g).map(Number);
            const luminance = ([r, g, b]) => [r, g, b].map(each => each / 255)
                .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
                .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
            const ground = element => {
                const colour = channels(getComputedStyle(element).backgroundColor);
                return colour.length === 3 || colour[3] === 1 ? colour : ground(element.parentElement);
            };
            const element = document.querySelector(selector);
            const both = [channels(getComputedStyle(element).color), ground(element)].map(luminance);
            return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        }""",
        selector,
    )
    return found
