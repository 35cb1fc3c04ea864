"""Warns of columns that make a model look better than it is: row numbers, ids, and what gives the target away."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leeway.schema import Target

LEAK: Final = 0.99
"""A single column that predicts the target so well is rarely known before the outcome."""
MOST_ROWS: Final = 50_000
LEAST_ROWS: Final = 50
_SMOOTHING: Final = 10
_FEW_VALUES: Final = 100


def suspects(frame: pd.DataFrame, labels: NDArray[Any], target: Target) -> Iterator[str]:
    """Warn of columns of a typed frame, each with what to do; of large tables, leakage is sought in 50,000 rows.

    A column of integers that are all different looks like a row number or an id. One that predicts the labels by itself
    looks like leakage: with a ROC AUC, or for numbers with an R², of at least 0.99.
    """
    rows = np.arange(len(labels))
    if len(rows) < LEAST_ROWS:
        return
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    sample, sampled = frame.iloc[rows], labels[rows]
    for name in frame.columns:
        option = shlex.quote(name)
        if reason := _looks_like_an_id(frame[name]):
            yield f"column {name}: {reason}; if it identifies a row, leave it out with --id {option}"
        figure, found = alone(sample[name], sampled, target)
        if found is not None and found >= LEAK:
            yield (
                f"column {name} alone predicts the target with {figure} of {found:.3f}: is it known only after the"
                f" outcome? If so, leave it out with --drop {option}"
            )


def alone(values: pd.Series[Any], labels: NDArray[Any], target: Target) -> tuple[str, float | None]:
    """How well one column predicts the target by itself: the figure, and its value."""
    if target.task == "regression":
        return "an R²", r_squared_alone(values, labels)
    if target.task == "binary":
        return "a ROC AUC", roc_auc_alone(values, np.asarray(labels == target.positive, dtype=np.int64))
    areas = [
        area for area in (_roc_auc_of_class(values, labels == each) for each in target.classes) if area is not None
    ]
    return "a ROC AUC (one-vs-rest)", float(np.mean(areas)) if areas else None


def _roc_auc_of_class(values: pd.Series[Any], is_class: NDArray[np.bool_]) -> float | None:
    """The ROC AUC of one class against the others; None without rows of both."""
    if is_class.all() or not is_class.any():
        return None
    positive = np.asarray(is_class, dtype=np.int64)
    return _roc_auc(_by_neighbours(values, positive.astype(np.float64)), positive)


def r_squared_alone(values: pd.Series[Any], labels: NDArray[np.float64]) -> float | None:
    """R² of one column as the only predictor, without a model; None if all labels are the same."""
    total = float(((labels - labels.mean()) ** 2).sum())
    return 1 - float(((labels - _by_neighbours(values, labels)) ** 2).sum()) / total if total else None


def _by_neighbours(values: pd.Series[Any], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the mean label of other rows with the same value, or with the two next smaller and greater numbers.

    A class may lie between others, and a relation need not be a straight line.
    """
    if values.dtype == object or values.nunique() <= _FEW_VALUES:
        groups = pd.factorize(values, use_na_sentinel=False)[0]
        counts, sums = np.bincount(groups)[groups], np.bincount(groups, labels)[groups]
        others = np.maximum(counts - 1, 1)
        return np.where(counts > 1, (sums - labels) / others, labels.mean())
    order = np.argsort(values.astype("Float64").to_numpy(dtype=np.float64, na_value=np.inf), kind="stable")
    padded = np.pad(labels[order], 2, mode="reflect")
    found = np.empty(len(labels))
    found[order] = (padded[:-4] + padded[1:-3] + padded[3:-1] + padded[4:]) / 4
    return found


def _looks_like_an_id(values: pd.Series[Any]) -> str | None:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return None
    present = values.dropna().to_numpy(dtype=np.float64)
    if len(present) < LEAST_ROWS or not (present == np.trunc(present)).all():
        return None
    if (np.diff(present) == 1).all():
        return f"its values count the rows from {present[0]:.0f}, like a row number"
    if values.dropna().is_unique:
        return "its integers are all different, like an id"
    return None


def roc_auc_alone(values: pd.Series[Any], labels: NDArray[np.int64]) -> float | None:
    """The ROC AUC of one column as the only predictor, in whichever direction is better; None with one class only.

    A missing number may stand on either side of the others. A category is scored by its share of positive labels in
    the other half of the rows, so that rare categories do not predict themselves.
    """
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 (both classes)
        return None
    if values.dtype == object:
        return _roc_auc(_rates(values, labels), labels)
    numbers = values.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    areas = [_roc_auc(np.where(np.isnan(numbers), missing, numbers), labels) for missing in (-np.inf, np.inf)]
    return max(max(area, 1 - area) for area in areas)


def _rates(values: pd.Series[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    rates = np.empty(len(codes))
    halves = np.random.default_rng(0).random(len(codes)) < 0.5  # noqa: PLR2004 (half)
    overall = labels.mean()
    for half in (halves, ~halves):
        counts = np.bincount(codes[~half], minlength=codes.max() + 1)
        positive = np.bincount(codes[~half], labels[~half], minlength=codes.max() + 1)
        rates[half] = ((positive + _SMOOTHING * overall) / (counts + _SMOOTHING))[codes[half]]
    return rates


def _roc_auc(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mann and Whitney's statistic: the share of pairs of classes in the right order, a tie counts half."""
    ranks = pd.Series(scores).rank().to_numpy()
    positive = int(labels.sum())
    negative = len(labels) - positive
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))
