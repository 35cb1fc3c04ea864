from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from drift.columns import NAMED_CATEGORIES, OTHER_NEW
from drift.comparing import Pair, Reference, compare, plain_measure
from drift.detector import Comparison, compute_drift
from drift.findings import DriftReport, TooFewRows
from drift.plan import ColumnPlan, DriftPlan
from leeway.bundle import Bundle
from leeway.distances import effective_threshold
from leeway.frames import typed_frame
from leeway.population import Population
from leeway.schema import Feature, FeatureSchema, Seen
from tests.drift.windows import drawn, features_of, scored, with_column

SCHEMA = FeatureSchema(
    (
        Feature("amount", "number", nullable=True),
        Feature("count", "integer", nullable=True),
        Feature("flag", "flag", nullable=True),
        Feature("kind", "category", nullable=True),
        Feature("still", "number", nullable=True),
        Feature("never", "number", nullable=True),
    )
)
ROWS = 400


def columns(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> dict[str, Any]:
    """Columns of every kind: one constant, one entirely missing, and gaps in the others."""
    rng = np.random.default_rng(seed)

    def gaps(values: list[Any]) -> list[Any]:
        return [None if hole else value for value, hole in zip(values, rng.random(rows) < 0.1, strict=True)]

    return {
        "amount": gaps(rng.normal(10, 3, rows).tolist()),
        "count": gaps(rng.integers(0, 3, rows).tolist()),
        "flag": gaps((rng.random(rows) < 0.4).tolist()),
        "kind": gaps([("a", "b", "c")[place] for place in rng.integers(0, 3, rows)]),
        "still": [5.0] * rows,
        "never": [None] * rows,
    } | changes


def frame(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> pd.DataFrame:
    """A typed frame of `columns`."""
    return typed_frame(SCHEMA, columns(rows, seed, **changes))


REFERENCE = frame(rows=500, seed=0)
PLAN = DriftPlan.from_reference(SCHEMA, REFERENCE)


def report_of(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE, plan: DriftPlan = PLAN) -> DriftReport:
    """Compare without Evidently, by the same rules."""
    return compare(Reference(reference, SCHEMA, plan), current, plain_measure)


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
    code = "import sys, drift.detector; print('evidently' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_features_keep_the_schemas_order_and_methods() -> None:
    """Every feature of the schema is there, once, in its order, by the plan's method."""
    report = report_of(frame(seed=3))
    assert [each.feature for each in report.features] == list(SCHEMA.names)
    assert [each.method for each in report.features] == [PLAN.features[name].method for name in SCHEMA.names]


def test_columns_that_are_no_features_do_not_count() -> None:
    """Ids, times, labels: what the schema does not name is not looked at."""
    others = frame(seed=3).assign(user_id="x", _label=1)
    assert report_of(others) == report_of(frame(seed=3))


def test_the_threshold_is_that_of_the_size() -> None:
    """A feature's threshold is max(base, c·√(1/n + 1/m)) with the window's subjects and the reference's rows."""
    plan = DriftPlan({**PLAN.features, "amount": ColumnPlan("wasserstein", 0.1, 2.5)})
    found = report_of(frame(rows=200), plan=plan)["amount"]
    assert found.threshold == effective_threshold(2.5, 200, 500)
    assert found.threshold > 0.1


def test_a_feature_that_moved_is_detected() -> None:
    """A shift of the mean by two standard deviations is a detection, and the share counts it."""
    moved = report_of(frame(seed=3, amount=[16.0 + place % 5 for place in range(ROWS)]))
    assert [each.feature for each in moved.detected] == ["amount"]
    assert moved.share == pytest.approx(1 / 6)


def test_a_feature_gone_missing_is_detected_without_a_score() -> None:
    """Entirely missing now: no score, detected, missing share 1."""
    found = report_of(frame(seed=3, amount=[None] * ROWS))["amount"]
    assert (found.score, found.detected, found.missing_current) == (None, True, 1.0)


def test_a_feature_missing_on_both_sides_is_constant() -> None:
    """Entirely missing before and now: no score, not drifted."""
    found = report_of(frame(seed=3))["never"]
    assert (found.score, found.detected, found.constant) == (None, False, True)


def test_a_feature_that_appears_is_detected() -> None:
    """Entirely missing before and there now: no score, detected."""
    found = report_of(frame(seed=3, never=[1.0, 2.0] * (ROWS // 2)))["never"]
    assert (found.score, found.detected, found.constant) == (None, True, False)


def test_the_same_value_everywhere_is_constant() -> None:
    """A single value on both sides is reported as constant, and has not drifted."""
    found = report_of(frame(seed=3))["still"]
    assert (found.constant, found.detected, found.score) == (True, False, 0.0)


def test_a_constant_that_begins_to_vary_is_compared() -> None:
    """A single value before, others now: compared, detected, and marked."""
    found = report_of(frame(seed=3, still=[5.0, 6.0, 7.5, None] * (ROWS // 4)))["still"]
    assert (found.constant, found.detected, found.began_to_vary) == (False, True, True)
    assert found.outside_reference == pytest.approx(2 / 3)


def test_new_categories_are_named_and_few() -> None:
    """Up to twenty new categories, the most frequent first; their share is of the values present."""
    kinds = ["satellite"] * 10 + [f"x{place:02}" for place in range(40)] + ["a"] * 50 + [None] * 300
    found = report_of(frame(seed=3, kind=kinds))["kind"]
    assert found.new_categories[:2] == ("satellite", "x00")
    assert len(found.new_categories) == NAMED_CATEGORIES
    assert found.outside_reference == pytest.approx(0.5)


def test_a_category_that_the_model_was_trained_on_is_not_new() -> None:
    """What the schema has seen is known, although the held-out reference does not hold it."""
    schema = SCHEMA.with_seen({each.name: Seen(categories=("d",) if each.name == "kind" else ()) for each in SCHEMA})
    current = frame(seed=3, kind=["d", "e"] * (ROWS // 2))
    found = compare(Reference(REFERENCE, schema, PLAN), current, plain_measure)["kind"]
    assert found.new_categories == ("e",)
    assert found.outside_reference == 0.5


def test_numbers_outside_the_reference_are_counted() -> None:
    """The share of present values beyond the reference's 0.5 and 99.5 % quantiles."""
    found = report_of(frame(seed=3, amount=[1_000.0] * 100 + [10.0] * 100 + [None] * 200))["amount"]
    assert found.outside_reference == 0.5
    assert found.missing_current == 0.5


def test_thousands_of_new_values_are_measured_as_a_few() -> None:
    """Of many new values most share one name, and the distance is the same: Evidently would take minutes."""
    seen: list[Pair] = []

    def measure(pairs: Sequence[Pair]) -> dict[str, float]:
        seen.extend(pairs)
        return plain_measure(pairs)

    current = typed_frame(SCHEMA, columns(rows=3_000, count=list(range(3_000))))
    found = compare(Reference(REFERENCE, SCHEMA, PLAN), current, measure)["count"]
    (pair,) = (each for each in seen if each.name == "count")
    assert len(set(pair.current) - {None}) <= 3 + NAMED_CATEGORIES + 1
    assert OTHER_NEW in pair.current
    before = [value for value in columns(rows=500, seed=0)["count"] if value is not None]
    shares = np.array([before.count(value) / len(before) for value in range(3)])
    middle = (shares + 1 / 3_000) / 2
    ours = float(np.sum(shares * np.log(shares / middle) + np.log(1 / 3_000 / middle) / 3_000)) + 0.999 * math.log(2)
    assert found.score == pytest.approx(math.sqrt(ours / 2), abs=1e-9)


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


def test_scores_of_the_model_are_compared_where_both_have_them(bundle: Bundle, people: Population) -> None:
    """`_score` is no feature; where both frames have it, its drift is reported beside theirs."""
    window = drawn(features_of(people), 500, np.random.default_rng(0))
    reference = Reference(bundle.reference(), bundle.schema, DriftPlan.from_card(bundle.card))
    with_scores = compare(reference, scored(bundle, window), plain_measure)
    without = compare(reference, window, plain_measure)
    assert with_scores.prediction is not None
    assert with_scores.features == without.features
    assert without.prediction is None


def test_scores_that_moved_are_detected(bundle: Bundle, people: Population) -> None:
    """A shift of all scores is a detection of its own."""
    window = scored(bundle, features_of(people))
    reference = Reference(bundle.reference(), bundle.schema, DriftPlan.from_card(bundle.card))
    found = compare(reference, with_column(window, "_score", window["_score"] / 2 + 0.5), plain_measure).prediction
    assert found is not None
    assert found.detected


def test_a_plan_without_a_bundle_is_made_by_the_same_rules(bundle: Bundle) -> None:
    """From the bundle's reference the plan is that of its card."""
    reference = bundle.reference()
    assert DriftPlan.from_reference(bundle.schema, reference, reference["_score"]) == DriftPlan.from_card(bundle.card)


def test_a_card_without_a_plan_is_refused() -> None:
    """The message says what is missing and what to do."""
    with pytest.raises(ValueError, match="train again"):
        DriftPlan.from_card({"name": "churn"})


def test_a_sample_says_of_how_many() -> None:
    """Rows compared and subjects of the window are told apart."""
    report = compare(Reference(REFERENCE, SCHEMA, PLAN), frame(), plain_measure, current_subjects=9_000)
    assert (report.reference_rows, report.current_rows, report.current_subjects) == (500, ROWS, 9_000)
