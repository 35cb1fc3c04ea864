"""Warns of columns that make a model look better than it is: row numbers, ids, and what gives the target away."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEAK_ROC_AUC: Final = 0.99
"""A single column that separates the classes so well is rarely known before the outcome."""
MOST_ROWS: Final = 50_000
LEAST_ROWS: Final = 50
_SMOOTHING: Final = 10


def suspects(frame: pd.DataFrame, labels: NDArray[np.int64]) -> Iterator[str]:
    """Warn of columns of a typed frame, each with what to do; of large tables, leakage is sought in 50,000 rows.

    A column of integers that are all different looks like a row number or an id. One that predicts the labels by itself
    with a ROC AUC of at least 0.99 looks like leakage.
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
        area = roc_auc_alone(sample[name], sampled)
        if area is not None and area >= LEAK_ROC_AUC:
            yield (
                f"column {name} alone predicts the target with a ROC AUC of {area:.3f}: is it known only after the"
                f" outcome? If so, leave it out with --drop {option}"
            )


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
