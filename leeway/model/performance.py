"""How well a model does, each figure with a 95 % interval. Plain numpy. `leeway.model.figures` chooses by the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_Z: Final = 1.959964  # the 97.5 % quantile of the normal distribution


class NotEnoughLabels(ValueError):
    """No labels, labels of one class only (ROC AUC), or labels that do not differ (R²); the message says which."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

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
    if positive.all() or not positive.any():
        raise NotEnoughLabels("ROC AUC needs labels of both classes")
    below, above = _placements(positive, scored)
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


# --- several classes --------------------------------------------------------------------------------------------------


def accuracy(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Estimate:
    """Share of the rows whose predicted class is their label.

    The interval is Wilson's (Journal of the American Statistical Association 22, 1927).

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: the lengths differ.
    """
    given, found = _classes(labels, predicted, "accuracy")
    n, share = given.size, float((given == found).mean())
    middle, squared = share + _Z**2 / (2 * n), _Z**2 / n
    margin = _Z * math.sqrt(share * (1 - share) / n + squared / (4 * n))
    return Estimate(share, max(0.0, (middle - margin) / (1 + squared)), min(1.0, (middle + margin) / (1 + squared)))


def macro_f1(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Estimate:
    """Mean of the F1 scores of all classes that are a label or a prediction, each class with the same weight.

    The interval is that of the delta method (Takahashi, Yamamoto, Kuchiba and Koyama, Applied Intelligence 52, 2022).

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: the lengths differ.
    """
    given, found = _classes(labels, predicted, "macro F1")
    scores, influences = [], np.zeros(given.size)
    for each in np.union1d(given, found):
        is_label, is_found = given == each, found == each
        both, either = float((is_label & is_found).mean()), float(is_label.mean() + is_found.mean())
        scores.append(2 * both / either)
        influences += 2 * (is_label & is_found) / either - scores[-1] * (is_label.astype(float) + is_found) / either
    return _estimate(float(np.mean(scores)), _variance_of_mean(influences / len(scores)))


def log_loss_of_classes(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Estimate:
    """Mean of -ln of the probability of the label: a class's place among the columns of `probabilities`, shape (n, k).

    The interval is as that of `log_loss`.

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: the shapes do not match, or a probability is not from 0 to 1.
    """
    given, shares = _class_probabilities(labels, probabilities)
    epsilon = float(np.finfo(np.float64).eps)
    losses = -np.log(shares[np.arange(given.size), given].clip(epsilon, 1 - epsilon))
    return _estimate(float(losses.mean()), _variance_of_mean(losses), most=math.inf)


def roc_auc_ovr(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Estimate:
    """Mean of the ROC AUCs of each class against all others, by its column of `probabilities`, shape (n, k).

    Classes without labels are left out. The interval is DeLong's, of a mean: each row adds what it adds to the AUC of
    every class, so that the classes need not be independent.

    Raises:
        NotEnoughLabels: there are no labels, or only of one class.
        ValueError: the shapes do not match, or a probability is not from 0 to 1.
    """
    given, shares = _class_probabilities(labels, probabilities)
    found = np.unique(given)
    if found.size < 2:  # noqa: PLR2004 (a class and another)
        raise NotEnoughLabels("ROC AUC needs labels of two classes")
    areas, influences = [], np.zeros(given.size)
    for each in found:
        positive = given == each
        below, above = _placements(positive, shares[:, each])
        areas.append(float(below.mean()))
        influences[positive] += (below - areas[-1]) * (given.size / below.size)
        influences[~positive] += (above - areas[-1]) * (given.size / above.size)
    return _estimate(float(np.mean(areas)), _variance_of_mean(influences / found.size))


# --- numbers ----------------------------------------------------------------------------------------------------------


def mean_absolute_error(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Estimate:
    """Mean of |label - prediction|, in the target's unit; the interval is the normal approximation of a mean's.

    Raises:
        NotEnoughLabels: there are no labels.
        ValueError: the lengths differ, or a number is not finite.
    """
    errors = np.abs(_errors(labels, predicted)[1])
    return _estimate(float(errors.mean()), _variance_of_mean(errors), most=math.inf)


def root_mean_squared_error(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Estimate:
    """Square root of the mean of (label - prediction)²; the interval is the root of that of the mean.

    Raises:
        As `mean_absolute_error`.
    """
    squared = _errors(labels, predicted)[1] ** 2
    mean = _estimate(float(squared.mean()), _variance_of_mean(squared), most=math.inf)
    return Estimate(math.sqrt(mean.value), math.sqrt(mean.low), math.sqrt(mean.high))


def r_squared(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Estimate:
    """Coefficient of determination: 1 - the squared errors ÷ those of the labels' mean. It has no lower bound.

    The interval is that of the delta method for a ratio of two means.

    Raises:
        NotEnoughLabels: there are fewer than two different labels.
        ValueError: the lengths differ, or a number is not finite.
    """
    given, errors = _errors(labels, predicted)
    squared, total = errors**2, (given - given.mean()) ** 2
    if not total.any():
        raise NotEnoughLabels("R² needs labels that differ")
    ratio = float(squared.mean() / total.mean())
    influences = (squared - ratio * total) / total.mean()
    return _estimate(1 - ratio, _variance_of_mean(influences), least=-math.inf)


# --- helpers ----------------------------------------------------------------------------------------------------------


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


def _classes(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, figure: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    given, found = np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if given.shape != found.shape or given.ndim != 1:
        raise ValueError(f"each label needs one prediction: got {given.shape} labels and {found.shape} predictions")
    if not given.size:
        raise NotEnoughLabels(f"{figure} needs labels")
    return given, found


def _class_probabilities(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Floats]:
    given, shares = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if not given.size and not shares.size:
        raise NotEnoughLabels("probabilities are judged by labels, and there are none")
    if shares.ndim != 2 or given.shape != shares.shape[:1]:  # noqa: PLR2004 (rows and classes)
        raise ValueError(f"each label needs a row of probabilities: got {given.shape} labels and {shares.shape}")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("probabilities must be from 0 to 1")
    if given.min() < 0 or given.max() >= shares.shape[1]:
        raise ValueError("a label is not a column of the probabilities")
    return given, shares


def _errors(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The labels, and how far each prediction is from its label."""
    given, found = np.asarray(labels, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if given.shape != found.shape or given.ndim != 1:
        raise ValueError(f"each label needs one prediction: got {given.shape} labels and {found.shape} predictions")
    if not given.size:
        raise NotEnoughLabels("errors need labels")
    if not (np.isfinite(given).all() and np.isfinite(found).all()):
        raise ValueError("labels and predictions must be finite numbers")
    return given, given - found


def _placements(positive: npt.NDArray[np.bool_], scored: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative the share of positives above it."""
    high, low = scored[positive], scored[~positive]
    ranks = _midranks(scored)
    below = (ranks[positive] - _midranks(high)) / low.size
    return below, 1 - (ranks[~positive] - _midranks(low)) / high.size


def _midranks(values: Floats) -> Floats:
    """Rank of each value, from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _variance_of_mean(values: Floats) -> float:
    return float(np.var(values, ddof=1)) / values.size if values.size > 1 else math.inf


def _estimate(value: float, variance: float, *, least: float = 0.0, most: float = 1.0) -> Estimate:
    margin = _Z * math.sqrt(variance)
    return Estimate(value, max(least, value - margin), min(most, value + margin))
