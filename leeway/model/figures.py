"""Which figures say how well a model does, by its task, and those of a constant answer, which a model must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from leeway.model import performance
from leeway.model.answers import Answers
from leeway.model.performance import Estimate, NotEnoughLabels
from leeway.schema import Label, Target, Task

Figure: TypeAlias = Literal["roc_auc", "brier", "log_loss", "accuracy", "macro_f1", "roc_auc_ovr", "mae", "rmse", "r2"]

FIGURES: Final[Mapping[Task, tuple[Figure, ...]]] = {
    "binary": ("roc_auc", "brier", "log_loss"),
    "multiclass": ("accuracy", "macro_f1", "log_loss", "roc_auc_ovr"),
    "regression": ("mae", "rmse", "r2"),
}
"""The figures of each task; the first is the one that is shown where there is room for one."""

TITLES: Final[Mapping[Figure, str]] = {
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "roc_auc_ovr": "ROC AUC (one-vs-rest)",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}
"""The figures' names for people."""

SMALLER_IS_BETTER: Final[frozenset[Figure]] = frozenset({"brier", "log_loss", "mae", "rmse"})
NO_PROBABILITIES: Final = "needs the probability of each class; only that of the predicted class is stored"
"""Why some figures of several classes are unknown; see `leeway.store.tables.MOST_PROBABILITIES`."""
_SURELY: Final[frozenset[Figure]] = frozenset({"roc_auc", "roc_auc_ovr", "r2"})
"""Figures that a constant answer has in common with chance: a model must surely be better."""


def figures(target: Target, labels: Sequence[Label], answers: Answers) -> dict[Figure, Estimate]:
    """The figures of n labels and as many answers; without those for which labels or probabilities do not suffice.

    >>> figures(Target(), [0, 0, 1, 1], Answers([0.1, 0.4, 0.3, 0.9], [0, 0, 0, 1]))["roc_auc"].value
    0.75

    Raises:
        KeyError: a label is no class of the target.
        ValueError: the lengths differ, or a value is not valid.
    """
    return figures_and_reasons(target, labels, answers)[0]


def figures_and_reasons(
    target: Target, labels: Sequence[Label], answers: Answers
) -> tuple[dict[Figure, Estimate], dict[Figure, str]]:
    """The figures as `figures`, and why the others of the task are unknown."""
    found, reasons = dict[Figure, Estimate](), dict[Figure, str]()
    for name, measure in _measures(target, labels, answers).items():
        try:
            found[name] = measure()
        except NotEnoughLabels as error:
            reasons[name] = str(error)
    for name in FIGURES[target.task]:
        if name not in found:
            reasons.setdefault(name, NO_PROBABILITIES)
    return found, reasons


def _measures(target: Target, labels: Sequence[Label], answers: Answers) -> dict[Figure, Callable[[], Estimate]]:
    scores, probabilities = answers.scores, answers.probabilities
    if target.task == "regression":
        return {
            "mae": lambda: performance.mean_absolute_error(labels, scores),
            "rmse": lambda: performance.root_mean_squared_error(labels, scores),
            "r2": lambda: performance.r_squared(labels, scores),
        }
    if target.task == "binary":
        positive = [label == target.positive for label in labels]
        return {
            "roc_auc": lambda: performance.roc_auc(positive, scores),
            "brier": lambda: performance.brier(positive, scores),
            "log_loss": lambda: performance.log_loss(positive, scores),
        }
    given, found = target.codes(labels), target.codes(answers.predictions)
    measures: dict[Figure, Callable[[], Estimate]] = {
        "accuracy": lambda: performance.accuracy(given, found),
        "macro_f1": lambda: performance.macro_f1(given, found),
    }
    if probabilities is not None:
        measures["log_loss"] = lambda: performance.log_loss_of_classes(given, probabilities)
        measures["roc_auc_ovr"] = lambda: performance.roc_auc_ovr(given, probabilities)
    return measures


def baseline(target: Target, labels: Sequence[Label]) -> dict[Figure, float]:
    """The figures of the best constant answer to these labels.

    It is the shares of the classes for every row, the most frequent class, or for numbers their mean (their median for
    the mean absolute error). Without two different labels there is none.
    """
    if len(set(labels)) < 2:  # noqa: PLR2004 (two different labels)
        return {}
    if target.task == "regression":
        numbers = np.array(labels, dtype=np.float64)
        return {"mae": float(np.abs(numbers - np.median(numbers)).mean()), "rmse": float(numbers.std()), "r2": 0.0}
    if target.task == "binary":
        share = sum(label == target.positive for label in labels) / len(labels)
        answers = Answers([share] * len(labels), [target.classes[0]] * len(labels))
    else:
        shares = tuple(label_shares(target, labels).values())
        common = target.classes[int(np.argmax(shares))]
        answers = Answers([max(shares)] * len(labels), [common] * len(labels), [shares] * len(labels))
    return {name: estimate.value for name, estimate in figures(target, labels, answers).items()}


def label_shares(target: Target, labels: Sequence[Label]) -> dict[str, float]:
    """The share of each class among some labels or predictions; by name, in the target's order."""
    counts = Counter(labels)
    return {
        name: counts[each] / max(1, len(labels)) for name, each in zip(target.class_names, target.classes, strict=True)
    }


def no_better_than(baseline: Mapping[Figure, float], found: Mapping[Figure, Estimate]) -> tuple[Figure, ...]:
    """The figures in which a model is not better than a constant answer: by ROC AUC and R² it must be so surely."""
    return tuple(
        name for name, constant in baseline.items() if name in found and not _is_better(name, found[name], constant)
    )


def _is_better(name: Figure, found: Estimate, constant: float) -> bool:
    if name in _SURELY:
        return found.low > constant
    return found.value < constant if name in SMALLER_IS_BETTER else found.value > constant
