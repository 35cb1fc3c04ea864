from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from sklearn import metrics

from leeway.model.performance import Estimate, Floats, NotEnoughLabels, brier, log_loss, roc_auc

Measure: TypeAlias = Callable[[Floats, Floats], Estimate]


def labelled(rng: np.random.Generator, rows: int, lift: float = 1.0) -> tuple[Floats, Floats]:
    """Labels (three of ten are 1) and probabilities that are higher for them by `lift` standard deviations."""
    labels = (rng.random(rows) < 0.3).astype(float)
    return labels, 1 / (1 + np.exp(-rng.normal(lift * labels)))


@pytest.mark.parametrize(
    ("measure", "expected"),
    [(roc_auc, metrics.roc_auc_score), (brier, metrics.brier_score_loss), (log_loss, metrics.log_loss)],
)
def test_values_are_scikit_learns(measure: Measure, expected: Callable[[Floats, Floats], float]) -> None:
    """The values equal scikit-learn's."""
    labels, scores = labelled(np.random.default_rng(1), 700)
    assert measure(labels, scores).value == pytest.approx(expected(labels, scores), abs=1e-12)


def test_roc_auc_counts_ties_half() -> None:
    """Tied scores give scikit-learn's area, and labels may be booleans."""
    labels, scores = labelled(np.random.default_rng(2), 700)
    steps = np.round(scores, 1)
    assert roc_auc(labels == 1, steps).value == pytest.approx(metrics.roc_auc_score(labels, steps), abs=1e-12)


def test_roc_auc_of_equal_scores_is_a_half() -> None:
    """A model that gives all rows one score is no better than chance, with certainty."""
    assert roc_auc([0, 1, 0, 1], [0.4] * 4) == Estimate(0.5, 0.5, 0.5)


def test_roc_auc_interval_is_delongs_by_definition() -> None:
    """The fast algorithm gives the variance of the paper's double sum."""
    labels, scores = labelled(np.random.default_rng(3), 90)
    steps = np.round(scores, 1)
    ones, zeros = steps[labels == 1], steps[labels == 0]
    wins = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
    variance = np.var(wins.mean(axis=1), ddof=1) / ones.size + np.var(wins.mean(axis=0), ddof=1) / zeros.size
    found = roc_auc(labels, steps)
    assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-9)
    assert found.value - found.low == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize("measure", [roc_auc, brier, log_loss])
def test_interval_is_about_the_bootstraps(measure: Measure) -> None:
    """The interval's width is within a tenth of that of 2,000 resamples."""
    rng = np.random.default_rng(4)
    labels, scores = labelled(rng, 500)
    resamples = [rng.integers(0, labels.size, labels.size) for _ in range(2_000)]
    low, high = np.quantile([measure(labels[rows], scores[rows]).value for rows in resamples], [0.025, 0.975])
    found = measure(labels, scores)
    assert found.high - found.low == pytest.approx(high - low, rel=0.1)


@pytest.mark.parametrize(("measure", "seed"), [(roc_auc, 5), (brier, 6)])
def test_intervals_cover_the_truth(measure: Measure, seed: int) -> None:
    """Of 1,000 intervals from 400 labels, 93 to 97 in a hundred contain the population's value."""
    rng = np.random.default_rng(seed)
    truth = measure(*labelled(rng, 1_000_000)).value
    found = [measure(*labelled(rng, 400)) for _ in range(1_000)]
    assert 0.93 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.97


def test_a_perfect_separation_has_no_width() -> None:
    """A perfect separation has area 1, the reverse 0, each with an interval of no width."""
    assert roc_auc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == Estimate(1, 1, 1)
    assert roc_auc([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]) == Estimate(0, 0, 0)


def test_interval_stays_within_0_and_1() -> None:
    """An interval is clipped at 0 and 1."""
    nearly = [0.1, 0.2, 0.85, 0.8, 0.9]
    assert roc_auc([0, 0, 0, 1, 1], nearly).high == 1
    assert brier([0, 1, 0], [0.0, 0.9, 0.0]).low == 0


def test_one_label_of_a_class_says_nothing_about_its_spread() -> None:
    """With one label of a class the interval is all that is possible; for Brier score and log loss with one label."""
    assert roc_auc([0, 0, 1], [0.1, 0.6, 0.5]) == Estimate(0.5, 0, 1)
    assert brier([1], [0.5]) == Estimate(0.25, 0, 1)
    assert log_loss([1], [0.5]) == Estimate(math.log(2), 0, math.inf)


def test_too_few_labels_have_no_value() -> None:
    """The ROC AUC needs labels of both classes, the other figures one label."""
    for labels in ([], [1, 1], [0, 0]):
        with pytest.raises(NotEnoughLabels, match="both classes"):
            roc_auc(labels, [0.5] * len(labels))
    for measure in (brier, log_loss):
        with pytest.raises(NotEnoughLabels, match="needs labels"):
            measure([], [])


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 1], [0.5], "each label needs one score"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
        ([0, float("nan")], [0.5, 0.5], "0 or 1"),
        ([0, 1], [0.5, float("nan")], "finite"),
    ],
)
def test_bad_input_is_rejected(labels: list[float], scores: list[float], reason: str) -> None:
    """All measures reject invalid labels and scores with the reason."""
    for measure in (roc_auc, brier, log_loss):
        with pytest.raises(ValueError, match=reason):
            measure(labels, scores)


@pytest.mark.parametrize("measure", [brier, log_loss])
def test_needs_probabilities(measure: Measure) -> None:
    """Scores beyond 0 and 1 have a ROC AUC, but no Brier score and no log loss."""
    labels, scores = np.array([0.0, 1.0, 0.0, 1.0]), np.array([-3.0, 2.0, 1.0, 4.0])
    assert roc_auc(labels, scores).value == 1
    with pytest.raises(ValueError, match="probabilities"):
        measure(labels, scores)


def test_log_loss_of_certain_errors_is_finite() -> None:
    """A label that was given the probability 0 counts as the smallest that a 64-bit float can tell from it."""
    assert log_loss([1, 0], [0.0, 0.0]).value == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)
