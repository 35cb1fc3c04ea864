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
    """Evidently's comparison of a window with gaps, absurd numbers, and text from a hostile request."""
    given = columns(seed=2)
    given["amount"][:3] = [1e300, math.inf, -math.inf]
    given["kind"][:4] = ["</script><script>alert(1)</script>"] * 4
    given["kind"][4:60] = [f"new {place}" for place in range(56)]
    return compute_drift(REFERENCE, typed_frame(SCHEMA, given), SCHEMA, PLAN)


def test_evidently_measures_what_distances_measures(awkward: Comparison) -> None:
    """With gaps, infinities and new categories too, Evidently's scores are ours within 1e-9."""
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
    """Evidently's files hold the report's scores, and the page loads no script or style from anywhere."""
    awkward.write_html(tmp_path / "report.html")
    awkward.write_json(tmp_path / "report.json")
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    scores = {each["config"]["column"]: each["value"] for each in figures["metrics"]}
    assert scores == {each.feature: each.score for each in awkward.report.features if each.score is not None}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_a_category_cannot_break_out_of_the_page(awkward: Comparison, tmp_path: Path) -> None:
    """Text that came with a request does not become markup of Evidently's page."""
    awkward.write_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


def test_evidently_is_imported_only_to_compare() -> None:
    """Importing the detector imports no Evidently."""
    code = "import sys, drift.comparison.evidently; print('evidently' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_too_few_subjects_are_refused_with_both_numbers() -> None:
    """Two thousand calls from 50 customers are 50 subjects: fewer than 200 are not compared."""
    with pytest.raises(TooFewRows, match=r"50 .* 200"):
        compute_drift(REFERENCE, frame(rows=50), SCHEMA, PLAN, min_subjects=200)


def test_nothing_cannot_be_compared() -> None:
    """An empty window or an empty reference raises TooFewRows, whatever the least number."""
    with pytest.raises(TooFewRows, match="0 subjects"):
        compute_drift(REFERENCE, frame(rows=0), SCHEMA, PLAN)
    with pytest.raises(TooFewRows, match="reference"):
        compute_drift(frame(rows=0), REFERENCE, SCHEMA, PLAN)


def test_all_features_missing_still_makes_a_report(tmp_path: Path) -> None:
    """Where nothing at all can be measured there is a report, and a page."""
    empty = typed_frame(SCHEMA, {name: [None] * 300 for name in SCHEMA.names})
    comparison = compute_drift(REFERENCE, empty, SCHEMA, PLAN)
    comparison.write_html(tmp_path / "report.html")
    assert comparison.report.share == pytest.approx(5 / 6)
    assert (tmp_path / "report.html").stat().st_size > 0
