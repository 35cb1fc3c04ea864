from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from drift.comparison.columns import NAMED_CATEGORIES
from drift.comparison.evidently import OTHER_NEW, EvidentlyPage, _entries, evidently_page
from leeway.data.tabular import typed_frame
from leeway.model.drift_plan import frame_values
from tests.drift.comparisons import REFERENCE, ROWS, SCHEMA, columns, frame, prepared, report_of


def awkward_frame() -> pd.DataFrame:
    """A window with gaps, extreme numbers, and text from a hostile request."""
    given = columns(seed=2)
    given["amount"][:3] = [1e300, math.inf, -math.inf]
    given["kind"][:4] = ["</script><script>alert(1)</script>"] * 4
    given["kind"][4:60] = [f"new {place}" for place in range(56)]
    return typed_frame(SCHEMA, given)


def page_of(current: pd.DataFrame, subjects: int = ROWS) -> EvidentlyPage:
    """Evidently's page of a window."""
    return evidently_page(prepared(REFERENCE), frame_values(current, SCHEMA), subjects)


@pytest.fixture(scope="module")
def awkward() -> EvidentlyPage:
    """The page of the awkward window."""
    return page_of(awkward_frame())


def test_evidently_and_our_distances_agree(awkward: EvidentlyPage) -> None:
    """With gaps, infinities and new categories, Evidently's scores equal ours within 1e-9."""
    ours = {each.feature: each.score for each in report_of(awkward_frame()).features if each.score is not None}
    assert awkward.scores == pytest.approx(ours, rel=1e-9, abs=1e-9)


def test_the_page_is_self_contained_and_of_the_same_run(awkward: EvidentlyPage, tmp_path: Path) -> None:
    """Evidently's files contain the scores, and the page loads no script or style."""
    awkward.write_html(tmp_path / "report.html")
    awkward.write_json(tmp_path / "report.json")
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {each["config"]["column"]: each["value"] for each in figures["metrics"]} == awkward.scores
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)


@pytest.mark.parametrize(
    ("subjects", "note"),
    [(ROWS, "Made from all 400 subjects"), (9_000, "Made from a sample of 400 of the window's 9,000 subjects")],
)
def test_the_page_says_what_it_was_made_from(subjects: int, note: str, tmp_path: Path) -> None:
    """A page of a sample says so, and where the figures of all subjects are."""
    page_of(frame(), subjects).write_html(tmp_path / "report.html")
    assert note in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_thousands_of_new_values_share_a_label() -> None:
    """Most new values share one label, and the distance is the same: Evidently would take minutes."""
    current = typed_frame(SCHEMA, columns(rows=3_000, count=list(range(3_000))))
    reference = prepared(REFERENCE)
    _, labels = _entries(frame_values(current, SCHEMA)["count"], reference.columns["count"])
    assert len(set(labels) - {None}) <= 3 + NAMED_CATEGORIES + 1
    assert OTHER_NEW in labels
    assert page_of(current, 3_000).scores["count"] == pytest.approx(report_of(current)["count"].score, abs=1e-9)


def test_a_category_is_escaped_in_the_page(awkward: EvidentlyPage, tmp_path: Path) -> None:
    """Text from a request does not become markup in Evidently's page."""
    awkward.write_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


def test_evidently_is_imported_only_to_compare() -> None:
    """Importing the module does not import Evidently."""
    code = "import sys, drift.comparison.evidently; print('evidently' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_window_without_values_has_a_page(tmp_path: Path) -> None:
    """If nothing can be measured there is still a page."""
    page_of(typed_frame(SCHEMA, {name: [None] * 300 for name in SCHEMA.names})).write_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 0
