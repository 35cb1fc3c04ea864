"""What is known of one window: how far it drifted, what was rejected, how the model did. Frozen values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from drift.result import FeatureDrift, ScoreDrift
from leeway.model.answers import Answers
from leeway.model.card import Card, HeldOut
from leeway.model.figures import FIGURES, Figure, baseline, figures_and_reasons, label_shares
from leeway.model.performance import Estimate
from leeway.schema import Label, Target, Task

MISSING_MOVED: Final = 0.1
"""A missing share that moved by more than this (and more than by chance) is a matter of quality."""
NO_LABELS: Final = "there are no labels yet"


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

    `prediction` compares the model's answers, which `answers` names; it is None if a side has none. `current_rows` were
    compared, one a subject. `single_values` are the features with one value throughout a window, by name, but for those
    that have the same one in both.
    """

    features: tuple[FeatureDrift, ...]
    prediction: ScoreDrift | None
    reference_rows: int
    current_rows: int
    single_values: Mapping[str, SingleValue] = field(default_factory=dict)
    answers: str = "scores"

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
    """The model on the last labelled predictions, on its card, and a constant answer to the same labels.

    What cannot be estimated is left out, and `reasons` say why of the live figures. `target_difference` is how far the
    labels are from those of the card: half the sum of the differences of the classes' shares (of two classes the
    difference of either), or for numbers the largest difference of the two distribution functions at the points that
    the card has.
    """

    labels: int
    task: Task = "binary"
    live: Mapping[Figure, Estimate] = field(default_factory=dict)
    card: Mapping[Figure, Estimate] = field(default_factory=dict)
    baseline: Mapping[Figure, float] = field(default_factory=dict)
    target_difference: float | None = None
    reasons: Mapping[Figure, str] = field(default_factory=dict)


def performance_window(labels: Sequence[Label], answers: Answers, card: Card) -> PerformanceWindow:
    """Estimate performance on n labels and as many answers of the card's model.

    Raises:
        KeyError: a label is no class of the model.
        ValueError: the lengths differ, or a score is not valid.
    """
    return performance_beside(labels, answers, card.target, card.figures, card.held_out)


def performance_beside(
    labels: Sequence[Label],
    answers: Answers,
    target: Target,
    card: Mapping[Figure, Estimate],
    held_out: HeldOut,
) -> PerformanceWindow:
    """The same beside other figures than those of a card, and the rows that they come from."""
    if not labels:
        return PerformanceWindow(0, target.task, card=card, reasons=dict.fromkeys(FIGURES[target.task], NO_LABELS))
    live, reasons = figures_and_reasons(target, labels, answers)
    difference = _target_difference(target, held_out, labels)
    return PerformanceWindow(len(labels), target.task, live, card, baseline(target, labels), difference, reasons)


def _target_difference(target: Target, held_out: HeldOut, labels: Sequence[Label]) -> float | None:
    before, numbers = held_out.label_shares, held_out.label_distribution
    if before is not None:
        now = label_shares(target, labels)
        return sum(abs(now[name] - share) for name, share in before.items()) / 2
    if numbers is None:
        return None
    shares = np.searchsorted(np.sort(np.array(labels, dtype=np.float64)), numbers.points, side="right") / len(labels)
    return float(np.abs(shares - numbers.shares).max())
