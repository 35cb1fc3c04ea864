from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drift.comparison.evidently import Comparison, compute_drift
from drift.comparison.findings import TooFewRows
from leeway.data.tabular import typed_frame
from tests.drift.comparisons import PLAN, REFERENCE, SCHEMA, columns, frame, report_of


@pytest.fixture(scope="module")
def awkward() -> Comparison:
    """Evidently's comparison of a window with gaps, extreme numbers, and text from a hostile request."""
    given = columns(seed=2)
    given["amount"][:3] = [1e300, math.inf, -math.inf]
    given["kind"][:4] = ["</script><script>alert(1)</script>"] * 4
    given["kind"][4:60] = [f"new {place}" for place in range(56)]
    return compute_drift(REFERENCE, typed_frame(SCHEMA, given), SCHEMA, PLAN)


def test_evidently_and_our_distances_agree(awkward: Comparison) -> None:
    """With gaps, infinities and new categories, Evidently's scores equal ours within 1e-9."""
    given = columns(seed=2)
    given["amount"][:3] = [1e300, math.inf, -math.inf]
    given["kind"][:4] = ["</script><script>alert(1)</script>"] * 4
    given["kind"][4:60] = [f"new {place}" for place in range(56)]
    ours = report_of(typed_frame(SCHEMA, given))
    for theirs, expected in zip(awkward.report.features, ours.features, strict=True):
        if theirs.score is None:
            assert expected.score is None
        else:
            assert theirs.score == pytest.approx(expected.score, rel=1e-9, abs=1e-9), theirs.feature


def test_the_page_is_self_contained_and_of_the_same_run(awkward: Comparison, tmp_path: Path) -> None:
    """Evidently's files contain the report's scores, and the page loads no script or style."""
    awkward.write_html(tmp_path / "report.html")
    awkward.write_json(tmp_path / "report.json")
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    scores = {each["config"]["column"]: each["value"] for each in figures["metrics"]}
    assert scores == {each.feature: each.score for each in awkward.report.features if each.score is not None}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_a_category_is_escaped_in_the_page(awkward: Comparison, tmp_path: Path) -> None:
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


def test_too_few_subjects_are_rejected_with_both_numbers() -> None:
    """50 subjects are not compared if 200 are needed."""
    with pytest.raises(TooFewRows, match=r"50 .* 200"):
        compute_drift(REFERENCE, frame(rows=50), SCHEMA, PLAN, min_subjects=200)


def test_an_empty_window_cannot_be_compared() -> None:
    """An empty window or an empty reference raises TooFewRows, whatever the minimum."""
    with pytest.raises(TooFewRows, match="0 subjects"):
        compute_drift(REFERENCE, frame(rows=0), SCHEMA, PLAN)
    with pytest.raises(TooFewRows, match="reference"):
        compute_drift(frame(rows=0), REFERENCE, SCHEMA, PLAN)


def test_a_window_without_values_has_a_report(tmp_path: Path) -> None:
    """If nothing can be measured there is still a report and a page."""
    empty = typed_frame(SCHEMA, {name: [None] * 300 for name in SCHEMA.names})
    comparison = compute_drift(REFERENCE, empty, SCHEMA, PLAN)
    comparison.write_html(tmp_path / "report.html")
    assert comparison.report.share == pytest.approx(5 / 6)
    assert (tmp_path / "report.html").stat().st_size > 0
