from __future__ import annotations

from statistics import fmean

import pytest

from leeway.data.population import Population, population
from tests.leeway.data.measured import ChurnModel


def test_about_a_quarter_leaves(first: Population) -> None:
    """The churn rate is about 26 %, also in later months."""
    for made in (first, population(1), population(12)):
        assert fmean(made.labels) == pytest.approx(0.26, abs=0.015)


def test_a_good_model_has_the_documented_auc(first: Population, model: ChurnModel) -> None:
    """A gradient boosting model reaches a held-out ROC AUC of 0.84."""
    assert model.auc(first, model.held_out) == pytest.approx(0.84, abs=0.015)


def test_the_model_holds_in_later_months(model: ChurnModel) -> None:
    """Without drift the model is as good half a year later."""
    assert model.auc(population(6)) == pytest.approx(0.84, abs=0.02)


def test_concept_drift_changes_no_feature(first: Population) -> None:
    """It only changes the labels."""
    turned = population(concept_drift=1.0)
    assert turned.columns == first.columns
    assert turned.labels != first.labels


def test_full_concept_drift_makes_the_old_model_useless(model: ChurnModel) -> None:
    """The old model is then no better than chance."""
    assert model.auc(population(1, concept_drift=1.0)) <= 0.55


def test_concept_drift_grows_with_its_strength(model: ChurnModel) -> None:
    """The stronger it is, the worse the old model gets."""
    found = [model.auc(population(1, concept_drift=strength)) for strength in (0.0, 0.25, 0.5, 1.0)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_concept_drift_keeps_the_churn_rate(strength: float) -> None:
    """About as many customers leave, whatever the strength."""
    assert fmean(population(1, concept_drift=strength).labels) == pytest.approx(0.26, abs=0.02)
