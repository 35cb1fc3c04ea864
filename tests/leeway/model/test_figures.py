"""The figures of each task against scikit-learn's, and their intervals against resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from leeway.model.answers import Answers
from leeway.model.figures import FIGURES, SMALLER_IS_BETTER, Figure, baseline, figures, no_better_than
from leeway.model.performance import Estimate
from leeway.schema import Label, Target
from tests.datasets import DIABETES, WINE

CLASSES = list(WINE.classes)
ROWS = 400


def classified(rows: int = ROWS, seed: int = 1) -> tuple[list[Label], Answers]:
    """Labels of three classes, and probabilities that favour the right one."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    raw = rng.gamma(1.0, size=(rows, 3)) + 1.5 * np.eye(3)[codes]
    return [CLASSES[code] for code in codes], Answers.of(WINE, raw / raw.sum(axis=1, keepdims=True), 0.5)


def predicted(rows: int = ROWS, seed: int = 1) -> tuple[list[Label], Answers]:
    """Numbers, and predictions of which a few have large errors."""
    rng = np.random.default_rng(seed)
    numbers = rng.gamma(4, 40, rows)
    return numbers.tolist(), Answers.of(DIABETES, numbers + 20 * rng.standard_t(5, rows), 0.5)


def probabilities(answers: Answers) -> NDArray[np.float64]:
    """Those of the classes, shape (n, 3)."""
    return np.array(answers.probabilities)


EXPECTED: dict[Figure, Callable[[list[Any], Answers], float]] = {
    "accuracy": lambda labels, found: metrics.accuracy_score(labels, found.predictions),
    "macro_f1": lambda labels, found: metrics.f1_score(labels, found.predictions, average="macro"),
    "log_loss": lambda labels, found: metrics.log_loss(labels, probabilities(found), labels=CLASSES),
    "roc_auc_ovr": lambda labels, found: metrics.roc_auc_score(
        labels, probabilities(found), multi_class="ovr", labels=CLASSES
    ),
    "mae": lambda labels, found: metrics.mean_absolute_error(labels, found.scores),
    "rmse": lambda labels, found: metrics.root_mean_squared_error(labels, found.scores),
    "r2": lambda labels, found: metrics.r2_score(labels, found.scores),
}
EACH = pytest.mark.parametrize(
    ("target", "made"), [(WINE, classified), (DIABETES, predicted)], ids=["classes", "numbers"]
)


@EACH
def test_values_are_scikit_learns(target: Target, made: Callable[[], tuple[list[Label], Answers]]) -> None:
    """Every figure of the task equals scikit-learn's."""
    labels, answers = made()
    found = figures(target, labels, answers)
    assert tuple(found) == FIGURES[target.task]
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(EXPECTED[name](labels, answers), abs=1e-9)


@EACH
def test_intervals_are_about_the_bootstraps(target: Target, made: Callable[[], tuple[list[Label], Answers]]) -> None:
    """The width of each interval is within 15 % of that of 400 resamples."""
    labels, answers = made()
    rng, found = np.random.default_rng(4), figures(target, labels, answers)
    values: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(400):
        rows = rng.integers(0, ROWS, ROWS).tolist()
        shares = None if answers.probabilities is None else [answers.probabilities[row] for row in rows]
        drawn = Answers([answers.scores[row] for row in rows], [answers.predictions[row] for row in rows], shares)
        for name, estimate in figures(target, [labels[row] for row in rows], drawn).items():
            values[name].append(estimate.value)
    for name, estimate in found.items():
        low, high = np.quantile(values[name], [0.025, 0.975])
        assert estimate.high - estimate.low == pytest.approx(high - low, rel=0.15), name


@EACH
def test_a_model_is_compared_with_a_constant_answer(
    target: Target, made: Callable[[], tuple[list[Label], Answers]]
) -> None:
    """The constant answer has the same figures, a good model is better in all, and the constant itself in none."""
    labels, answers = made()
    constant = baseline(target, labels)
    assert tuple(constant) == FIGURES[target.task]
    assert no_better_than(constant, figures(target, labels, answers)) == ()
    same = {name: Estimate(value, value, value) for name, value in constant.items()}
    assert no_better_than(constant, same) == FIGURES[target.task]


def test_the_median_and_the_mean_are_the_best_constants() -> None:
    """No other constant has a smaller mean absolute error than the median, or a smaller squared one than the mean."""
    labels, _ = predicted()
    constant = baseline(DIABETES, labels)
    for each in np.linspace(50, 300, 40):
        found = figures(DIABETES, labels, Answers([each] * ROWS, [each] * ROWS))
        assert found["mae"].value >= constant["mae"] - 1e-9
        assert found["rmse"].value >= constant["rmse"] - 1e-9


@pytest.mark.parametrize(
    ("labels", "left"), [([CLASSES[0]] * 3, {"accuracy", "macro_f1", "log_loss"}), ([], set())], ids=["one", "none"]
)
def test_figures_without_enough_labels_are_left_out(labels: list[Label], left: set[str]) -> None:
    """Labels of one class have no ROC AUC; without labels there is no figure, and no constant answer."""
    answers = Answers.of(WINE, np.tile([0.5, 0.3, 0.2], (len(labels), 1)), 0.5)
    assert figures(WINE, labels, answers).keys() == left
    assert baseline(WINE, labels) == {}


def test_a_class_without_probabilities_has_fewer_figures() -> None:
    """Where the database has no probabilities, of more than 20 classes, accuracy and macro F1 remain."""
    labels, answers = classified()
    assert figures(WINE, labels, Answers(answers.scores, answers.predictions)).keys() == {"accuracy", "macro_f1"}


def test_each_figure_has_a_direction() -> None:
    """Losses and errors are better the smaller they are, all other figures the greater they are."""
    every = {name for names in FIGURES.values() for name in names}
    assert every - SMALLER_IS_BETTER == {"roc_auc", "accuracy", "macro_f1", "roc_auc_ovr", "r2"}
