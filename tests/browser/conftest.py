"""A browser for all tests here, and for each test a visitor that records requests and console messages of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from docs.chromium import MISSING, chromium, installed
from drift.report.app import serve_reports
from drift.report.folder import ReportFolder
from drift.result import read_result
from tests.browser.visits import PHONE, Visitor
from tests.drift.documents import history


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test here, and skip it if no browser is installed."""
    for item in items:
        if item.nodeid.startswith("tests/browser/"):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(installed() is None, reason=MISSING))


@pytest.fixture(scope="package", autouse=True)
def browser() -> Iterator[Browser]:
    """Chromium. It closes after the last test here, because its event loop would disturb other tests.

    The first test starts it, whether it needs it or not: a module may not leave open what it started.
    """
    with chromium() as opened:
        yield opened


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages at desktop width; after the test, there must be no external requests and no console messages."""
    made = Visitor(browser)
    yield made
    made.close()
    assert made.external == [], "the page requested an external resource"
    assert made.console == [], "the page wrote to the console"


@pytest.fixture
def phone(browser: Browser) -> Iterator[Visitor]:
    """The same at phone width."""
    made = Visitor(browser, width=PHONE)
    yield made
    made.close()
    assert (made.external, made.console) == ([], [])


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ReportFolder:
    """An hour and a half of runs as the worker writes them, each with a minimal report."""
    made = ReportFolder(tmp_path_factory.mktemp("page") / "reports", trace_url="http://127.0.0.1:16686/trace")
    for document in history():
        report = None if document["share"] is None else lambda path: path.write_text("<title>A report</title>")
        made.write(read_result(document), report, report)
    made.write_index()
    return made


@pytest.fixture(scope="module")
def site(folder: ReportFolder) -> Iterator[str]:
    """The address at which the worker's own server shows them."""
    with serve_reports(folder, "127.0.0.1", 0) as address:
        yield address.url
