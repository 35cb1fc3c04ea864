"""What the verdicts say of real windows: the built-in population, its model, and one thing gone wrong at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from drift.comparison.compare import Reference, compare, plain_measure
from drift.comparison.evidently import compute_drift
from drift.comparison.findings import Rejections, performance_window
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Judgement, Observation, judge
from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan
from leeway.schema import SCORE_COLUMN
from tests.drift.comparisons import features_of, scored, with_column

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def later(people: Population) -> Population:
    """The same customers a month later, nothing drifted."""
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
    report = compare(Reference(before, bundle.schema, plan), rows, plain_measure, min_subjects=200)
    performance = None if labels is None else performance_window(labels, rows[SCORE_COLUMN], bundle.card)
    seen = Observation(bundle.version, NOW, NOW, report, rejections=rejections, performance=performance)
    return judge(seen, Policy().at_once())


def states(judgement: Judgement) -> dict[str, str]:
    """The four states."""
    return {question: each.state for question, each in judgement.verdicts.items()}


def test_a_month_without_drift_is_ok(bundle: Bundle, later: Population, window: pd.DataFrame) -> None:
    """All four verdicts are ok, and there is nothing to do."""
    found = judged(bundle, window, labels=later.labels)
    assert states(found) == dict.fromkeys(("quality", "covariate", "prediction", "performance"), "ok")
    assert (found.decision, found.recommendation) == ("NO_ACTION", "NO_ACTION")


def test_a_fee_in_cents_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """Multiplied by 100 it is one feature of fourteen, share 0.07: quality acts all the same."""
    found = judged(bundle, with_column(window, "monthly_fee", window["monthly_fee"] * 100))
    assert (found.decision, found.recommendation) == ("NO_ACTION", "INVESTIGATE")
    assert states(found)["quality"] == "act"
    assert "monthly_fee" in found.verdicts["quality"].evidence


def test_a_feature_gone_missing_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """Entirely missing: quality acts and names it."""
    found = judged(bundle, with_column(window, "watch_hours_30d", None))
    assert states(found)["quality"] == "act"
    assert "watch_hours_30d is entirely missing" in found.reason


def test_a_new_category_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """A twentieth of the customers with a kind of connection that the model never saw: quality acts."""
    kinds = window["net_service"].where(np.arange(len(window)) % 20 > 0, "Satellite")
    found = judged(bundle, with_column(window, "net_service", kinds))
    assert (states(found)["quality"], found.recommendation) == ("act", "INVESTIGATE")
    assert "Satellite" in found.reason


def test_a_single_new_category_is_watched(bundle: Bundle, window: pd.DataFrame) -> None:
    """Three customers of two thousand: quality watches, and nobody is called."""
    kinds = window["net_service"].where(np.arange(len(window)) >= 3, "Satellite")
    found = judged(bundle, with_column(window, "net_service", kinds))
    assert (states(found)["quality"], found.recommendation) == ("watch", "NO_ACTION")


def test_a_missing_share_that_moved_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """A fifth of the fees go missing at random, which no distance sees: quality acts, nothing drifted."""
    fees = window["monthly_fee"].where(np.arange(len(window)) % 5 > 0)
    found = judged(bundle, with_column(window, "monthly_fee", fees))
    assert (states(found)["quality"], states(found)["covariate"]) == ("act", "ok")
    assert found.recommendation == "INVESTIGATE"


def test_a_constant_that_begins_to_vary_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """What was constant in the reference, and meant nothing to the model, varies: quality acts."""
    still = with_column(bundle.reference(), "avg_session_mins_7d", 30.0)
    found = judged(bundle, window, reference=still)
    assert states(found)["quality"] == "act"
    assert "avg_session_mins_7d was constant and now varies" in found.reason


def test_a_tenth_refused_is_a_matter_of_quality(bundle: Bundle, window: pd.DataFrame) -> None:
    """What was refused is in no window: quality acts on the count."""
    found = judged(bundle, window, rejections=Rejections(answered=1_800, rejected=200))
    assert (states(found)["quality"], found.recommendation) == ("act", "INVESTIGATE")


def test_labels_turned_against_the_model(bundle: Bundle, people: Population) -> None:
    """No feature moves and the model is no better than a coin: covariate ok, performance acts, RETRAIN."""
    turned = population(1, customers=len(people), concept_drift=1)
    found = judged(bundle, features_of(turned), labels=turned.labels)
    assert (states(found)["covariate"], states(found)["performance"]) == ("ok", "act")
    assert (found.decision, found.recommendation) == ("NO_ACTION", "RETRAIN")


def test_a_network_grown_worse(bundle: Bundle, people: Population) -> None:
    """Covariate drift moves six features of fourteen: covariate acts, prediction too, RETRAIN."""
    found = judged(bundle, features_of(population(1, customers=len(people), covariate_drift=1)))
    assert (states(found)["covariate"], found.decision, found.recommendation) == ("act", "RETRAIN", "RETRAIN")
    assert states(found)["prediction"] in {"watch", "act"}
    assert states(found)["quality"] in {"ok", "watch"}


def test_evidently_agrees_on_a_window_gone_wrong(bundle: Bundle, window: pd.DataFrame) -> None:
    """Measured by Evidently, the fee in cents is the same one feature of fourteen."""
    fees = with_column(window, "monthly_fee", window["monthly_fee"] * 100)
    plan = bundle.card.drift
    report = compute_drift(bundle.reference(), scored(bundle, fees), bundle.schema, plan, min_subjects=200).report
    assert [each.feature for each in report.detected] == ["monthly_fee"]
    assert report.share == pytest.approx(1 / 14)
