"""What is known of one window: how far it drifted, what was rejected, how the model did. Frozen values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from drift.result import FeatureDrift, ScoreDrift
from leeway.model.card import Card
from leeway.model.performance import Estimate, NotEnoughLabels, brier, roc_auc

MISSING_MOVED: Final = 0.1
"""A missing share that moved by more than this (and more than by chance) is a matter of quality."""


class TooFewRows(Exception):
    """There are too few rows to compare; the message gives both numbers."""


@dataclass(frozen=True)
class SingleValue:
    """A feature that has the same value in every row of a window: `before` in the reference, `now` in the current one.

    Both are text, None if there are several values. `share` is how many of the reference's values equal `now`.
    """

    before: str | None
    now: str | None
    share: float


@dataclass(frozen=True)
class DriftReport:
    """A window against the reference, features in the schema's order.

    `prediction` is None if a side has no scores. `current_rows` were compared, one a subject. `single_values` are the
    features with one value throughout a window, by name, but for those that have the same one in both.
    """

    features: tuple[FeatureDrift, ...]
    prediction: ScoreDrift | None
    reference_rows: int
    current_rows: int
    single_values: Mapping[str, SingleValue] = field(default_factory=dict)

    @property
    def detected(self) -> tuple[FeatureDrift, ...]:
        """The features that drifted, furthest beyond their threshold first."""
        return tuple(sorted((each for each in self.features if each.detected), key=lambda each: -each.factor))

    @property
    def share(self) -> float:
        """Drifted features ÷ features compared; a constant one is compared and has not drifted."""
        return len(self.detected) / len(self.features)

    def __getitem__(self, feature: str) -> FeatureDrift:
        return next(each for each in self.features if each.feature == feature)


@dataclass(frozen=True)
class RejectionCause:
    """Items rejected because of one feature, for one reason; `feature` is None if no feature was at fault."""

    feature: str | None
    reason: str
    items: int


@dataclass(frozen=True)
class Rejections:
    """Items that the service answered and rejected in the window; one item may be rejected for several features."""

    answered: int
    rejected: int
    causes: tuple[RejectionCause, ...] = ()

    @property
    def share(self) -> float:
        """Rejected ÷ all; 0 without requests."""
        return self.rejected / max(1, self.answered + self.rejected)


@dataclass(frozen=True)
class PerformanceWindow:
    """The model on the last labelled predictions, and on its card. What cannot be estimated is None."""

    labels: int
    positive_share: float | None = None
    roc_auc: Estimate | None = None
    brier: Estimate | None = None
    card_roc_auc: Estimate | None = None
    card_brier: Estimate | None = None


def performance_window(labels: npt.ArrayLike, scores: npt.ArrayLike, card: Card) -> PerformanceWindow:
    """Estimate performance on n labels (0 or 1) and as many scores (probabilities), next to the bundle's card.

    Raises:
        ValueError: the lengths differ, a label is neither 0 nor 1, or a score is not a probability.
    """
    try:
        squared = brier(labels, scores)
    except NotEnoughLabels:
        return PerformanceWindow(0, card_roc_auc=card.roc_auc, card_brier=card.brier)
    given = np.asarray(labels, dtype=np.float64)
    try:
        area = roc_auc(labels, scores)
    except NotEnoughLabels:
        area = None
    return PerformanceWindow(given.size, float(given.mean()), area, squared, card.roc_auc, card.brier)
