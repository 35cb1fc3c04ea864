"""How well a model of another service does, by the labels in its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from drift.comparison.findings import PerformanceWindow
from leeway.model.performance import NotEnoughLabels, brier, roc_auc


def performance_of(
    labels: Sequence[Any], scores: Sequence[float | None], reference: PerformanceWindow | None
) -> PerformanceWindow:
    """Estimate performance on labels (0 or 1) and scores, beside that on the reference's labels.

    A label that is neither, and a score that is missing or no probability, do not count.
    """
    pairs = [
        (int(label), float(score))
        for label, score in zip(labels, scores, strict=True)
        if label in (0, 1) and score is not None and 0 <= score <= 1
    ]
    before = (reference.roc_auc, reference.brier) if reference else (None, None)
    if not pairs:
        return PerformanceWindow(0, card_roc_auc=before[0], card_brier=before[1])
    given, made = (np.array(each, dtype=np.float64) for each in zip(*pairs, strict=True))
    try:
        area = roc_auc(given, made)
    except NotEnoughLabels:
        area = None
    return PerformanceWindow(len(pairs), float(given.mean()), area, brier(given, made), *before)
