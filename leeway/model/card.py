"""The model's card, `card.json`: where the model comes from, how well it does, and how its drift is measured."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from leeway.model.answers import Answers
from leeway.model.drift_plan import DriftPlan
from leeway.model.figures import TITLES, Figure, label_shares, no_better_than
from leeway.model.performance import Estimate
from leeway.schema import Label, Target, Value

LABEL_POINTS: Final = 21
"""Points of the distribution of labels: every twentieth."""


class TrainedOn(msgspec.Struct, frozen=True):
    """The training data: where they come from, their date (ISO 8601), their rows, and the seed of the split."""

    source: str
    as_of: str | None = None
    rows: int | None = None
    seed: int | None = None


class Distribution(msgspec.Struct, frozen=True):
    """A distribution function of numbers: the share of rows up to each of a few points, which increase.

    >>> Distribution((10.0, 20.0), (0.25, 1.0)).position(14.0)
    0.55
    """

    points: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.points) != len(self.shares) or not self.points:
            raise ValueError(f"{len(self.shares)} shares for {len(self.points)} points")

    @classmethod
    def of(cls, numbers: npt.ArrayLike, points: int) -> Distribution:
        """The distribution of some numbers at up to so many of them, evenly distributed."""
        ordered = np.sort(np.asarray(numbers, dtype=np.float64))
        chosen = np.unique(np.quantile(ordered, np.linspace(0, 1, points), method="inverted_cdf"))
        shares = np.searchsorted(ordered, chosen, side="right") / ordered.size
        return cls(tuple(chosen.tolist()), tuple(shares.tolist()))

    def quantile(self, share: float) -> float:
        """The number up to which a share of the rows lies: the inverse of `position`, within the points.

        >>> Distribution((10.0, 20.0), (0.25, 1.0)).quantile(0.55)
        14.0
        """
        return float(np.interp(share, self.shares, self.points))

    def position(self, number: float) -> float:
        """The share of rows up to `number`, from 0 to 1; between two points it increases evenly."""
        place = bisect_right(self.points, number)
        if place == len(self.points):
            return 1.0
        if place == 0:
            return 0.0
        low, high = self.points[place - 1], self.points[place]
        below = self.shares[place - 1]
        return below + (self.shares[place] - below) * (number - low) / (high - low)


class HeldOut(msgspec.Struct, frozen=True):
    """The rows that the model was not trained on, and the distribution of their labels, if there are any.

    That is the share of each class, in the target's order, or of numbers up to 21 quantiles.
    """

    rows: int
    label_shares: dict[str, float] | None = None
    label_distribution: Distribution | None = None

    @classmethod
    def of(cls, target: Target, rows: int, labels: Sequence[Label] | None) -> HeldOut:
        """From the labels of so many rows, if there are any."""
        if labels is None:
            return cls(rows)
        if target.task == "regression":
            return cls(rows, label_distribution=Distribution.of(labels, LABEL_POINTS))
        return cls(rows, label_shares(target, labels))

    @property
    def has_labels(self) -> bool:
        """Whether the rows have labels."""
        return self.label_shares is not None or self.label_distribution is not None


class ScoreReference(msgspec.Struct, frozen=True):
    """The cumulative share of the reference's scores up to each bucket bound of `leeway.prediction.score`.

    The scores of a regression are positions among its predictions for the reference, `positions`, so that they lie
    between 0 and 1, too. `outcomes` are the shares of the predicted classes.
    """

    bounds: tuple[float, ...]
    shares: tuple[float, ...]
    positions: Distribution | None = None
    outcomes: dict[str, float] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.shares):
            raise ValueError(f"{len(self.shares)} shares for {len(self.bounds)} bounds")


class Card(msgspec.Struct, frozen=True):
    """What `card.json` says; docs/bundle.md has the meaning of each member.

    `figures` and `baseline`, those of the best constant answer, are empty without labels that differ. Only a binary
    model has a `decision_threshold`. `scorer_reason` says why ONNX does not score.
    """

    name: str
    version: str
    made_at: str
    target: Target
    trained_on: TrainedOn
    held_out: HeldOut
    figures: dict[Figure, Estimate]
    baseline: dict[Figure, float]
    decision_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    scorer: Literal["onnx", "scikit-learn"]
    scorer_reason: str | None
    example: dict[str, Value]
    score_reference: ScoreReference
    drift: DriftPlan

    def __post_init__(self) -> None:
        if self.drift.score is None:
            raise ValueError("`drift` has no plan for the `score`")
        if (self.target.task == "binary") != (self.decision_threshold is not None):
            raise ValueError(f"`decision_threshold` is {self.decision_threshold}, but the task is {self.target.task}")
        if (self.target.task == "regression") != (self.score_reference.positions is not None):
            raise ValueError("`score_reference` has `positions` for a regression only, and needs them there")

    def answers(self, outputs: npt.NDArray[np.float64]) -> Answers:
        """The answers by the model's outputs, see `leeway.model.bundle.Scorer`."""
        return Answers.of(self.target, outputs, 0.5 if self.decision_threshold is None else self.decision_threshold)

    def position(self, score: float) -> float:
        """Where a score lies from 0 to 1: a probability is that already, a number has a position in the reference."""
        positions = self.score_reference.positions
        return score if positions is None else positions.position(score)

    @property
    def typical_label(self) -> Label:
        """A label for examples: the positive class, the last one of several, or the median of the predicted numbers."""
        positions, target = self.score_reference.positions, self.target
        if positions is not None:
            return positions.quantile(0.5)
        return target.classes[-1] if target.positive is None else target.positive

    @property
    def no_better_than_baseline(self) -> tuple[str, ...]:
        """The titles of the figures in which the model is not better than a constant answer."""
        return tuple(TITLES[each] for each in no_better_than(self.baseline, self.figures))
