"""How well a model does: ROC AUC, Brier score and log loss, each with a 95 % interval. Plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_Z: Final = 1.959964  # the 97.5 % quantile of the normal distribution


class NotEnoughLabels(ValueError):
    """There are no labels, or only labels of one class for the ROC AUC."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, none below 0."""

    value: float
    low: float
    high: float


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Estimate:
    """Area under the ROC curve of labels (0 or 1) and scores; ties count half.

    The interval is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), by the fast algorithm of Sun and
    Xu (IEEE Signal Processing Letters 21, 2014). It has two limits: a perfect separation has an interval of no width,
    and one label of a class says nothing about that class's spread, so the interval is 0 to 1.

    Raises:
        NotEnoughLabels: a class has no label.
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    """
    positive, scored = _checked(labels, scores)
    high, low = scored[positive], scored[~positive]
    if not high.size or not low.size:
        raise NotEnoughLabels("ROC AUC needs labels of both classes")
    # For each positive the share of negatives below it, for each negative the share of positives above it.
    ranks = _midranks(scored)
    below = (ranks[positive] - _midranks(high)) / low.size
    above = 1 - (ranks[~positive] - _midranks(low)) / high.size
    return _estimate(float(below.mean()), _variance_of_mean(below) + _variance_of_mean(above))


def brier(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Estimate:
    """Mean squared difference of label (0 or 1) and probability (Brier, Monthly Weather Review 78, 1950); 0 is best.

    The interval is the normal approximation of a mean's; of a single label it is 0 to 1.

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is not a probability.
    """
    positive, scored = _probabilities(labels, scores, "Brier score")
    errors = (scored - positive) ** 2
    return _estimate(float(errors.mean()), _variance_of_mean(errors))


def log_loss(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Estimate:
    """Mean of -ln of the probability that was given to the label (0 or 1); 0 is best, and there is no worst.

    As in scikit-learn, probabilities closer to 0 or 1 than a 64-bit float can tell count as that close. The interval is
    the normal approximation of a mean's; of a single label it has no upper end.

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is not a probability.
    """
    positive, scored = _probabilities(labels, scores, "log loss")
    epsilon = float(np.finfo(np.float64).eps)
    losses = -np.log(np.where(positive, scored, 1 - scored).clip(epsilon, 1 - epsilon))
    return _estimate(float(losses.mean()), _variance_of_mean(losses), most=math.inf)


def _probabilities(labels: npt.ArrayLike, scores: npt.ArrayLike, figure: str) -> tuple[npt.NDArray[np.bool_], Floats]:
    positive, scored = _checked(labels, scores)
    if not scored.size:
        raise NotEnoughLabels(f"the {figure} needs labels")
    if scored.min() < 0 or scored.max() > 1:
        raise ValueError(f"the {figure} needs probabilities, from 0 to 1")
    return positive, scored


def _checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], Floats]:
    given, scored = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if given.shape != scored.shape or given.ndim != 1:
        raise ValueError(f"each label needs one score: got {given.shape} labels and {scored.shape} scores")
    if not np.isin(given, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.isfinite(scored).all():
        raise ValueError("scores must be finite numbers")
    return given == 1, scored


def _midranks(values: Floats) -> Floats:
    """Rank of each value, from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _variance_of_mean(values: Floats) -> float:
    return float(np.var(values, ddof=1)) / values.size if values.size > 1 else math.inf


def _estimate(value: float, variance: float, most: float = 1.0) -> Estimate:
    margin = _Z * math.sqrt(variance)
    return Estimate(value, max(0.0, value - margin), min(most, value + margin))
