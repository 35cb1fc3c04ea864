"""What the verdicts say of real windows: the built-in population, its model, and one thing gone wrong at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from drift.comparison.evidently import evidently_page
from drift.comparison.findings import Rejections, performance_window
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Judgement, Observation, judge
from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan, frame_values
from leeway.schema import SCORE_COLUMN
from tests.drift.comparisons import compared, features_of, prepared, scored, with_column

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Change: TypeAlias = Callable[["pd.Series[Any]"], "pd.Series[Any]"]


@pytest.fixture(scope="module")
def later(people: Population) -> Population:
    """The same customers a month later, without drift."""
    return population(1, customers=len(people))


@pytest.fixture(scope="module")
def window(later: Population) -> pd.DataFrame:
    """Their features."""
    return features_of(later)


def judged(
    bundle: Bundle,
    window: pd.DataFrame,
    *,
    reference: pd.DataFrame | None = None,
    labels: list[int] | None = None,
    rejections: Rejections | None = None,
) -> Judgement:
    """Score and compare the window with the bundle's reference, and judge it as a single comparison."""
    rows = scored(bundle, window)
    before = bundle.reference() if reference is None else reference
    plan = bundle.card.drift if reference is None else DriftPlan.from_reference(bundle.schema, before)
    report = compared(prepared(before, bundle.schema, plan), rows, min_subjects=200)
    performance = (
        None
        if labels is None
        else performance_window(labels, bundle.card.answers(rows[SCORE_COLUMN].to_numpy()), bundle.card)
    )
    seen = Observation(bundle.version, NOW, NOW, report, rejections=rejections, performance=performance)
    return judge(seen, Policy().at_once())


def states(judgement: Judgement) -> dict[str, str]:
    """The four states."""
    return {question: each.state for question, each in judgement.verdicts.items()}


def test_a_month_without_drift_is_ok(bundle: Bundle, later: Population, window: pd.DataFrame) -> None:
    """All four verdicts are ok, and no action is needed."""
    found = judged(bundle, window, labels=later.labels)
    assert states(found) == dict.fromkeys(("quality", "covariate", "prediction", "performance"), "ok")
    assert (found.decision, found.recommendation) == ("NO_ACTION", "NO_ACTION")


@pytest.mark.parametrize(
    ("feature", "change", "evidence"),
    [
        ("monthly_fee", lambda fees: fees * 100, "values of monthly_fee are outside the reference range"),
        ("watch_hours_30d", lambda hours: hours.where(hours < 0), "watch_hours_30d is entirely missing"),
        ("net_service", lambda kinds: kinds.where(np.arange(len(kinds)) % 20 > 0, "Satellite"), "Satellite"),
        ("monthly_fee", lambda fees: fees.where(np.arange(len(fees)) % 5 > 0), "monthly_fee is missing in 20.0%"),
    ],
    ids=["a fee in cents", "a missing feature", "a new category", "a changed missing share"],
)
def test_invalid_data_is_a_quality_problem(
    bundle: Bundle,
    window: pd.DataFrame,
    feature: str,
    change: Callable[[pd.Series[Any]], pd.Series[Any]],
    evidence: str,
) -> None:
    """At most one feature of fourteen drifts, a share below the threshold: quality is act and names the feature."""
    found = judged(bundle, with_column(window, feature, change(window[feature])))
    assert (states(found)["quality"], found.decision, found.recommendation) == ("act", "NO_ACTION", "INVESTIGATE")
    assert evidence in found.reason


def test_a_rare_new_category_is_watched(bundle: Bundle, window: pd.DataFrame) -> None:
    """Three customers of two thousand: quality is watch, and no action is needed."""
    kinds = window["net_service"].where(np.arange(len(window)) >= 3, "Satellite")
    found = judged(bundle, with_column(window, "net_service", kinds))
    assert (states(found)["quality"], found.recommendation) == ("watch", "NO_ACTION")


def test_a_constant_that_begins_to_vary_is_a_quality_problem(bundle: Bundle, window: pd.DataFrame) -> None:
    """A feature that was constant in the reference varies: the quality verdict is act."""
    still = with_column(bundle.reference(), "avg_session_mins_7d", 30.0)
    found = judged(bundle, window, reference=still)
    assert states(found)["quality"] == "act"
    assert "avg_session_mins_7d was always 30 and differs in" in found.reason


def test_a_tenth_rejected_is_a_quality_problem(bundle: Bundle, window: pd.DataFrame) -> None:
    """Rejected items are in no window: the quality verdict is act because of their number."""
    found = judged(bundle, window, rejections=Rejections(answered=1_800, rejected=200))
    assert (states(found)["quality"], found.recommendation) == ("act", "INVESTIGATE")


def test_concept_drift_shows_in_performance(bundle: Bundle, people: Population) -> None:
    """No feature drifts and the model is no better than chance: covariate ok, performance act, RETRAIN."""
    turned = population(1, customers=len(people), concept_drift=1)
    found = judged(bundle, features_of(turned), labels=turned.labels)
    assert (states(found)["covariate"], states(found)["performance"]) == ("ok", "act")
    assert (found.decision, found.recommendation) == ("NO_ACTION", "RETRAIN")


def test_covariate_drift_asks_for_retraining(bundle: Bundle, people: Population) -> None:
    """Six features of fourteen drift: covariate is act, prediction at least watch, RETRAIN."""
    found = judged(bundle, features_of(population(1, customers=len(people), covariate_drift=1)))
    assert (states(found)["covariate"], found.decision, found.recommendation) == ("act", "RETRAIN", "RETRAIN")
    assert states(found)["prediction"] in {"watch", "act"}
    assert states(found)["quality"] in {"ok", "watch"}


def test_evidently_agrees_on_a_fee_in_cents(bundle: Bundle, window: pd.DataFrame) -> None:
    """Measured by Evidently, it is the same one feature of fourteen."""
    fees = with_column(window, "monthly_fee", window["monthly_fee"] * 100)
    reference = prepared(bundle.reference(), bundle.schema, bundle.card.drift)
    page = evidently_page(reference, frame_values(scored(bundle, fees), bundle.schema), len(fees))
    drifted = [name for name, score in page.scores.items() if score >= reference.threshold(name, len(fees))]
    assert [name for name in drifted if name != SCORE_COLUMN] == ["monthly_fee"]
