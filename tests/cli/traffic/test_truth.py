from __future__ import annotations

import numpy as np
import pytest

from cli.traffic.truth import Answered, ModelTruth, PopulationTruth, labels
from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.performance import roc_auc


@pytest.fixture(scope="module")
def answers(bundle: Bundle, people: Population) -> list[Answered]:
    """The model's answers for every customer."""
    rows = [people.row(place) for place in range(len(people))]
    scores = bundle.score(rows)
    return [Answered(str(place), row, float(scores[place]), 0.0) for place, row in enumerate(rows)]


def turned(answers: list[Answered], strength: float) -> list[Answered]:
    """The same answers, under concept drift."""
    return [Answered(each.prediction_id, each.features, each.probability, strength) for each in answers]


def area(answers: list[Answered], found: list[int]) -> float:
    """How well the model's answers agree with what turned out."""
    return roc_auc(np.array(found), np.array([each.probability for each in answers])).value


@pytest.mark.parametrize("truth", [PopulationTruth(), ModelTruth(0.3)], ids=lambda truth: type(truth).__name__)
def test_without_concept_drift_the_model_is_right(answers: list[Answered], truth: PopulationTruth | ModelTruth) -> None:
    """Labels agree with a good model as well as its card says."""
    assert 0.8 < area(answers, labels(truth, answers, 7)) < 0.9


@pytest.mark.parametrize("truth", [PopulationTruth(), ModelTruth(0.3)], ids=lambda truth: type(truth).__name__)
def test_concept_drift_leaves_a_coin(answers: list[Answered], truth: PopulationTruth | ModelTruth) -> None:
    """At full concept drift the model is no better than chance, and about as many leave."""
    found = labels(truth, turned(answers, 1.0), 7)
    assert 0.4 < area(answers, found) < 0.55
    assert np.mean(found) == pytest.approx(0.27, abs=0.06)


def test_the_same_features_have_the_same_fate(answers: list[Answered]) -> None:
    """A customer who is asked for again leaves or stays as before; another seed decides anew."""
    some = answers[:500]
    again = [Answered("other", dict(reversed(list(each.features.items()))), each.probability, 0.0) for each in some]
    assert labels(PopulationTruth(), again, 7) == labels(PopulationTruth(), some, 7)
    assert labels(PopulationTruth(), some, 8) != labels(PopulationTruth(), some, 7)


def test_each_answer_has_its_own_strength(answers: list[Answered]) -> None:
    """Answers from before and after a drift, in one lot, are each judged by the rule of their time."""
    some, truth = answers[:100], PopulationTruth()
    mixed = [each if place % 2 else turned(some, 1.0)[place] for place, each in enumerate(some)]
    expected = [(truth.chances(some) if place % 2 else truth.chances(turned(some, 1.0)))[place] for place in range(100)]
    assert truth.chances(mixed) == pytest.approx(expected)
