"""The API's docs in a real browser, without internet access."""

from __future__ import annotations

from pathlib import Path

from leeway.model.bundle import Bundle
from tests.browser.visits import Visitor
from tests.service.processes import environment, running


def test_the_docs_work_without_internet_access(bundle: Bundle, tmp_path: Path, visitor: Visitor) -> None:
    """They list the operations and answer a trial; nothing is blocked by their policy or loaded from elsewhere."""
    with running(tmp_path, environment(bundle, tmp_path)) as server:
        page = visitor.open(f"{server.url}/docs")
        page.locator("#operations-predictions-predict").wait_for()
        page.locator("#operations-operation-get_liveness").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        answer = page.get_by_text('"status": "ok"').first
        answer.wait_for()
        assert answer.is_visible()
        page.close()
