from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from drift.comparison.columns import NAMED_CATEGORIES
from drift.comparison.findings import NO_LABELS, SingleValue, TooFewRows, performance_window
from leeway.data.population import Population
from leeway.data.tabular import typed_frame
from leeway.model.answers import Answers
from leeway.model.bundle import Bundle
from leeway.model.distances import effective_threshold
from leeway.model.drift_plan import ColumnPlan, DriftPlan
from leeway.model.performance import Estimate
from leeway.schema import Seen
from tests.drift.comparisons import (
    CARD,
    PLAN,
    REFERENCE,
    ROWS,
    SCHEMA,
    columns,
    compared,
    drawn,
    features_of,
    frame,
    prepared,
    report_of,
    scored,
    with_column,
)


def test_features_keep_the_schemas_order_and_methods() -> None:
    """Every feature of the schema appears once, in order, with the plan's method."""
    report = report_of(frame(seed=3))
    assert [each.feature for each in report.features] == list(SCHEMA.names)
    assert [each.method for each in report.features] == [PLAN.features[name].method for name in SCHEMA.names]


def test_other_columns_are_ignored() -> None:
    """Ids, times and labels are not compared."""
    others = frame(seed=3).assign(user_id="x", _label=1)
    assert report_of(others) == report_of(frame(seed=3))


def test_the_threshold_depends_on_the_window_size() -> None:
    """A feature's threshold is max(base, c·√(1/n + 1/m)) for n subjects and m reference rows."""
    plan = DriftPlan({**PLAN.features, "amount": ColumnPlan("wasserstein", 0.1, 2.5)})
    found = report_of(frame(rows=200), plan=plan)["amount"]
    assert found.threshold == effective_threshold(2.5, 200, 500)
    assert found.threshold > 0.1


def test_a_shifted_feature_is_detected() -> None:
    """A shift of the mean by two standard deviations is detected, and counts in the share."""
    moved = report_of(frame(seed=3, amount=[16.0 + place % 5 for place in range(ROWS)]))
    assert [each.feature for each in moved.detected] == ["amount"]
    assert moved.share == pytest.approx(1 / 6)


def test_an_entirely_missing_feature_is_detected_without_a_score() -> None:
    """No score, detected, missing share 1."""
    found = report_of(frame(seed=3, amount=[None] * ROWS))["amount"]
    assert (found.score, found.detected, found.missing.current) == (None, True, 1.0)


def test_a_feature_missing_on_both_sides_is_constant() -> None:
    """Entirely missing in both windows: no score, not drifted."""
    found = report_of(frame(seed=3))["never"]
    assert (found.score, found.detected, found.constant) == (None, False, True)


def test_a_feature_that_appears_is_detected() -> None:
    """Entirely missing in the reference and present now: no score, detected."""
    found = report_of(frame(seed=3, never=[1.0, 2.0] * (ROWS // 2)))["never"]
    assert (found.score, found.detected, found.constant) == (None, True, False)


def test_the_same_value_everywhere_is_constant() -> None:
    """A single value on both sides is reported as constant, and has not drifted."""
    found = report_of(frame(seed=3))["still"]
    assert (found.constant, found.detected, found.score) == (True, False, 0.0)


def test_a_constant_that_begins_to_vary_is_compared() -> None:
    """A single value in the reference, others now: compared, detected, and the value is known."""
    report = report_of(frame(seed=3, still=[5.0, 6.0, 7.5, None] * (ROWS // 4)))
    found = report["still"]
    assert (found.constant, found.detected) == (False, True)
    assert report.single_values == {"still": SingleValue("5", None, 0.0)}
    assert found.outside_reference == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "values", "now", "share"),
    [
        ("amount", [9999999999999999.0, None], "1e+16", 0.0),
        ("amount", [1e300], "1e+300", 0.0),
        ("flag", [False], "false", 0.6),
        ("kind", ["a"], "a", 1 / 3),
        ("never", [1.0], "1", 0.0),
    ],
)
def test_a_single_value_is_reported(name: str, values: list[Any], now: str, share: float) -> None:
    """A feature with one value throughout the window: that value, and its share of the reference's values."""
    (found,) = report_of(with_column(frame(seed=3), name, (values * ROWS)[:ROWS])).single_values.items()
    assert found == (name, SingleValue(None, now, found[1].share))
    assert found[1].share == pytest.approx(share, abs=0.05)


def test_new_categories_are_listed_up_to_a_limit() -> None:
    """Up to twenty new categories, most frequent first; their share is of the present values."""
    kinds = ["satellite"] * 10 + [f"x{place:02}" for place in range(40)] + ["a"] * 50 + [None] * 300
    found = report_of(frame(seed=3, kind=kinds))["kind"]
    assert found.new_categories[:2] == ("satellite", "x00")
    assert len(found.new_categories) == NAMED_CATEGORIES
    assert found.outside_reference == pytest.approx(0.5)


def test_a_category_that_the_model_was_trained_on_is_not_new() -> None:
    """A category that the schema has seen is known, even if the reference does not contain it."""
    schema = SCHEMA.with_seen({each.name: Seen(categories=("d",) if each.name == "kind" else ()) for each in SCHEMA})
    current = frame(seed=3, kind=["d", "e"] * (ROWS // 2))
    found = compared(prepared(REFERENCE, schema), current)["kind"]
    assert found.new_categories == ("e",)
    assert found.outside_reference == 0.5


def test_numbers_outside_the_reference_are_counted() -> None:
    """The share of present values beyond the reference's 0.5 and 99.5 % quantiles."""
    found = report_of(frame(seed=3, amount=[1_000.0] * 100 + [10.0] * 100 + [None] * 200))["amount"]
    assert found.outside_reference == 0.5
    assert found.missing.current == 0.5


def test_new_values_count_by_their_share() -> None:
    """Thousands of new values add their share times ln 2 to the divergence, like one."""
    current = typed_frame(SCHEMA, columns(rows=3_000, count=list(range(3_000))))
    found = report_of(current)["count"]
    before = [value for value in columns(rows=500, seed=0)["count"] if value is not None]
    shares = np.array([before.count(value) / len(before) for value in range(3)])
    middle = (shares + 1 / 3_000) / 2
    ours = float(np.sum(shares * np.log(shares / middle) + np.log(1 / 3_000 / middle) / 3_000)) + 0.999 * math.log(2)
    assert found.score == pytest.approx(math.sqrt(ours / 2), abs=1e-9)


def test_scores_are_compared_if_both_windows_have_them(bundle: Bundle, people: Population) -> None:
    """`_score` is not a feature; with scores in both frames, its drift is reported separately."""
    window = drawn(features_of(people), 500, np.random.default_rng(0))
    reference = prepared(bundle.reference(), bundle.schema, bundle.card.drift)
    with_scores = compared(reference, scored(bundle, window))
    without = compared(reference, window)
    assert with_scores.prediction is not None
    assert with_scores.features == without.features
    assert without.prediction is None


def test_shifted_scores_are_detected(bundle: Bundle, people: Population) -> None:
    """A shift of all scores is detected."""
    window = scored(bundle, features_of(people))
    reference = prepared(bundle.reference(), bundle.schema, bundle.card.drift)
    found = compared(reference, with_column(window, "_score", window["_score"] / 2 + 0.5)).prediction
    assert found is not None
    assert found.detected


def test_too_few_subjects_are_rejected_with_both_numbers() -> None:
    """50 subjects are not compared if 200 are needed."""
    with pytest.raises(TooFewRows, match=r"50 .* 200"):
        compared(prepared(REFERENCE), frame(rows=50), min_subjects=200)


def test_an_empty_window_cannot_be_compared() -> None:
    """An empty window or an empty reference raises TooFewRows, whatever the minimum."""
    with pytest.raises(TooFewRows, match="0 subjects"):
        report_of(frame(rows=0))
    with pytest.raises(TooFewRows, match="reference"):
        prepared(frame(rows=0))


# --- performance ----------------------------------------------------------------------------------------------------


def test_without_labels_performance_is_empty() -> None:
    """No estimates, but those of the card."""
    window = performance_window([], Answers([], []), CARD)
    assert (window.labels, window.live) == (0, {})
    assert set(window.reasons.values()) == {NO_LABELS}
    assert window.card["roc_auc"] == Estimate(0.84, 0.82, 0.86)


def test_labels_of_one_class_have_no_roc_auc() -> None:
    """Without both classes there is no ROC AUC."""
    window = performance_window([0, 0, 0], Answers([0.1, 0.2, 0.3], [0, 0, 0]), CARD)
    assert window.live.keys() == {"brier", "log_loss"}
    assert window.reasons == {"roc_auc": "ROC AUC needs labels of both classes"}
