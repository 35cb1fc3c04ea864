"""What is known of one window: how far it drifted, what was refused, how the model did. Frozen values, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from leeway.model.card import Card
from leeway.model.distances import Method
from leeway.model.performance import Estimate, NotEnoughLabels, brier, roc_auc

MISSING_MOVED: Final = 0.1
"""A missing share that moved by more than this (and more than by chance) is a matter of quality."""


class TooFewRows(Exception):
    """There is too little to compare; the message names what there is and what it takes."""


@dataclass(frozen=True)
class FeatureDrift:
    """One feature of a window against the reference.

    `score` is the distance, None where it cannot be computed; `threshold` is the effective one, see
    `leeway.model.distances.effective_threshold`. `constant` is a feature with the same single value (or none at all) on
    both sides; `began_to_vary` one with a single value in the reference and others now. The missing shares are of all
    rows. `outside_reference` is the share of the present values that lie outside the reference's 0.5–99.5 % range or
    were never seen. `new_categories` are up to 20 of those, the most frequent first.
    """

    feature: str
    method: Method
    score: float | None
    threshold: float
    detected: bool
    constant: bool = False
    missing_reference: float = 0.0
    missing_current: float = 0.0
    outside_reference: float = 0.0
    new_categories: tuple[str, ...] = ()
    began_to_vary: bool = False

    @property
    def factor(self) -> float:
        """How many times its threshold the score is: infinite where a detection has no score, 0 for no score at all."""
        if self.score is None:
            return math.inf if self.detected else 0.0
        return self.score / self.threshold


@dataclass(frozen=True)
class ScoreDrift:
    """The model's scores of a window against those of the reference."""

    method: Method
    score: float
    threshold: float
    detected: bool


@dataclass(frozen=True)
class DriftReport:
    """A window against the reference, features in the schema's order.

    `prediction` is None where a side has no scores. `current_rows` were compared, one a subject; `current_subjects`
    are all that the window has, more where a sample was taken.
    """

    features: tuple[FeatureDrift, ...]
    prediction: ScoreDrift | None
    reference_rows: int
    current_rows: int
    current_subjects: int

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
class Refusal:
    """Items refused for one feature's sake and one reason; `feature` is None where no feature was at fault."""

    feature: str | None
    reason: str
    items: int


@dataclass(frozen=True)
class Rejections:
    """What the service answered and refused in the window, in items; an item may be refused for several features."""

    answered: int
    refused: int
    refusals: tuple[Refusal, ...] = ()

    @property
    def share(self) -> float:
        """Refused ÷ all; 0 where nothing was asked."""
        return self.refused / max(1, self.answered + self.refused)


@dataclass(frozen=True)
class PerformanceWindow:
    """The model on the last labelled predictions beside its card. What could not be estimated is None."""

    labels: int
    positive_share: float | None = None
    roc_auc: Estimate | None = None
    brier: Estimate | None = None
    card_roc_auc: Estimate | None = None
    card_brier: Estimate | None = None


def performance_window(labels: npt.ArrayLike, scores: npt.ArrayLike, card: Card) -> PerformanceWindow:
    """Estimate how the model did on n labels (0 or 1) and as many scores (probabilities), beside the bundle's card.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is no probability.
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
