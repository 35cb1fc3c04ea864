"""The model's card, `card.json`: where the model comes from, how well it does, and how its drift is measured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from leeway.model.drift_plan import DriftPlan
from leeway.model.performance import Estimate
from leeway.schema import Value


class TrainedOn(msgspec.Struct, frozen=True):
    """The training data: where they come from, their date (ISO 8601), their rows, and the seed of the split."""

    source: str
    as_of: str | None = None
    rows: int | None = None
    seed: int | None = None


class HeldOut(msgspec.Struct, frozen=True):
    """The rows that the model was not trained on, and the share of positive labels among them, if there are labels."""

    rows: int
    positive_share: float | None = None


class Baseline(msgspec.Struct, frozen=True):
    """The figures of the best constant answer on the held-out rows: their share of positives, for every row."""

    roc_auc: float
    brier: float
    log_loss: float


class ScoreReference(msgspec.Struct, frozen=True):
    """The cumulative share of the reference's scores up to each bucket bound of `leeway.prediction.score`."""

    bounds: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.shares):
            raise ValueError(f"{len(self.shares)} shares for {len(self.bounds)} bounds")


class Card(msgspec.Struct, frozen=True):
    """What `card.json` says; docs/bundle.md has the meaning of each member.

    `classes` are the two that the pipeline was fitted on, in its order; scores are probabilities of `positive`.
    The figures and the `baseline` are None without labels of both classes. `scorer_reason` says why ONNX does not
    score.
    """

    name: str
    version: str
    made_at: str
    target: str
    classes: tuple[Value, Value]
    positive: Value
    trained_on: TrainedOn
    held_out: HeldOut
    roc_auc: Estimate | None
    brier: Estimate | None
    log_loss: Estimate | None
    baseline: Baseline | None
    decision_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)]
    scorer: Literal["onnx", "scikit-learn"]
    scorer_reason: str | None
    example: dict[str, Value]
    score_reference: ScoreReference
    drift: DriftPlan

    def __post_init__(self) -> None:
        if self.drift.score is None:
            raise ValueError("`drift` has no plan for the `score`")
        if self.positive not in self.classes:
            raise ValueError(f"`positive` is {self.positive!r}, but the classes are {self.classes}")

    @property
    def no_better_than_baseline(self) -> tuple[str, ...]:
        """The figures by which the model is not better than a constant answer: by ROC AUC it must be so surely."""
        if self.baseline is None or self.roc_auc is None or self.brier is None or self.log_loss is None:
            return ()
        better = {
            "ROC AUC": self.roc_auc.low > self.baseline.roc_auc,
            "Brier score": self.brier.value < self.baseline.brier,
            "log loss": self.log_loss.value < self.baseline.log_loss,
        }
        return tuple(name for name, is_better in better.items() if not is_better)
