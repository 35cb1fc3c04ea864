from __future__ import annotations

from statistics import fmean

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from leeway.data.population import Population, population
from tests.leeway.data.population.measured import auc, split


def test_about_a_quarter_leaves(first: Population) -> None:
    """The churn rate is about 26 %, in later months too."""
    for made in (first, population(1), population(12)):
        assert fmean(made.labels) == pytest.approx(0.26, abs=0.015)


def test_a_good_model_has_its_known_auc(first: Population, model: HistGradientBoostingClassifier) -> None:
    """Held out, a gradient boosting model reaches a ROC AUC of 0.84, as the known risk was set."""
    assert auc(model, first, split(first)[1]) == pytest.approx(0.84, abs=0.015)


def test_the_model_holds_in_later_months(model: HistGradientBoostingClassifier) -> None:
    """Without drift the model is as good half a year later."""
    assert auc(model, population(6)) == pytest.approx(0.84, abs=0.02)


def test_concept_drift_leaves_every_feature(first: Population) -> None:
    """The turned risk is seen in the labels only."""
    turned = population(concept_drift=1.0)
    assert turned.columns == first.columns
    assert turned.labels != first.labels


def test_concept_drift_leaves_the_old_model_with_a_coin(model: HistGradientBoostingClassifier) -> None:
    """Once the risk has turned, the old model is no better than a coin."""
    assert auc(model, population(1, concept_drift=1.0)) <= 0.55


def test_concept_drift_grows_with_its_strength(model: HistGradientBoostingClassifier) -> None:
    """The further the risk is turned, the worse the old model is."""
    found = [auc(model, population(1, concept_drift=strength)) for strength in (0.0, 0.25, 0.5, 1.0)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_concept_drift_keeps_the_churn_rate(strength: float) -> None:
    """About as many customers leave, however far the risk is turned."""
    assert fmean(population(1, concept_drift=strength).labels) == pytest.approx(0.26, abs=0.02)
