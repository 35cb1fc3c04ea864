"""A browser for all tests here, and for each test a way to open pages that tells what a page does behind one's back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from docs.chromium import MISSING, chromium, installed
from drift.report.app import serve_reports
from drift.report.folder import ReportFolder
from drift.result import read_result
from tests.browser.visits import PHONE, Visitor
from tests.drift.documents import history

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test here, and skip it where there is no browser."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(installed() is None, reason=MISSING))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. It goes with the last test here: its event loop would be in the way of others'."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages at a desk's width; after the test, nothing may have left the machine or come to the console."""
    made = Visitor(browser)
    yield made
    made.close()
    assert made.left == [], "the page asked for something beyond this machine"
    assert made.said == [], "the page wrote to the console"


@pytest.fixture
def phone(browser: Browser) -> Iterator[Visitor]:
    """The same at a phone's width."""
    made = Visitor(browser, width=PHONE)
    yield made
    made.close()
    assert (made.left, made.said) == ([], [])


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ReportFolder:
    """An hour and a half of runs as the worker writes them; each has a report, as small as it can be."""
    made = ReportFolder(tmp_path_factory.mktemp("page") / "reports", trace_url="http://127.0.0.1:16686/trace")
    for document in history():
        report = None if document["share"] is None else lambda path: path.write_text("<title>A report</title>")
        made.write(read_result(document), report, report)
    made.write_index()
    return made


@pytest.fixture(scope="package")
def site(folder: ReportFolder) -> Iterator[str]:
    """The address at which the worker's own server shows them."""
    with serve_reports(folder, "127.0.0.1", 0) as address:
        yield address.url
