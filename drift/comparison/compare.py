"""The rules of comparing a window with its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drift.comparison.columns import CurrentColumn, ReferenceColumn
from drift.comparison.findings import MISSING_MOVED, DriftReport, TooFewRows
from drift.result import FeatureDrift, MissingShares, ScoreDrift
from leeway.model.drift_plan import DriftPlan, Values
from leeway.schema import FeatureSchema, Task

ANSWERS: Final[Mapping[Task, str]] = {
    "binary": "scores",
    "multiclass": "predicted classes",
    "regression": "predicted numbers",
}
"""What is compared of a model's answers, for people."""


class PreparedReference:
    """A reference, prepared once and compared with any number of windows.

    `values` holds m values of each of the schema's features, and of the target's `compared_column` where the model's
    answers are known.

    Raises:
        TooFewRows: there are no values.
    """

    def __init__(self, values: Mapping[str, Values], schema: FeatureSchema, plan: DriftPlan) -> None:
        self.rows = values[schema.names[0]].size
        if not self.rows:
            raise TooFewRows("the reference has no rows")
        self.schema = schema
        self.plan = plan
        self.columns = {
            each.name: ReferenceColumn.of(
                each.name, each.kind, plan.features[each.name].method, values[each.name], each.seen.categories
            )
            for each in schema
        }
        self.answers = schema.target.compared_column
        if plan.score is not None and self.answers in values:
            self.columns[self.answers] = ReferenceColumn.of(
                self.answers, schema.target.compared_kind, plan.score.method, values[self.answers]
            )

    def threshold(self, name: str, subjects: int) -> float:
        """The effective threshold of a column of a window of so many subjects."""
        plan = self.plan.score if name == self.answers else self.plan.features[name]
        return 0.0 if plan is None else plan.threshold_at(subjects, self.rows)


@dataclass(frozen=True)
class WindowColumns:
    """A window of n subjects: its columns by name, with that of the model's answers if it has any to compare."""

    subjects: int
    columns: Mapping[str, CurrentColumn]

    @classmethod
    def of(cls, values: Mapping[str, Values], reference: PreparedReference) -> WindowColumns:
        """From one value a subject for each column of the reference that the window has; others are ignored."""
        columns = {
            name: CurrentColumn.of(values[name], column) for name, column in reference.columns.items() if name in values
        }
        return cls(values[reference.schema.names[0]].size, columns)


def compare(reference: PreparedReference, window: WindowColumns, *, min_subjects: int = 0) -> DriftReport:
    """Judge each column of a window by its distance: the features, and the model's answers where both sides have them.

    A distance counts from max(0.1, c·√(1/n + 1/m)) on, see `leeway.model.distances`. A feature without values on one
    side has no distance, and drifted if its missing share moved; one with the same single value on both sides is
    `constant` and has not drifted.

    Raises:
        TooFewRows: the window has fewer than `min_subjects` subjects, or none.
    """
    rows = window.subjects
    if rows < max(1, min_subjects):
        raise TooFewRows(f"{rows:,} subjects are too few to compare; at least {max(1, min_subjects):,} are needed")
    columns = window.columns
    features = tuple(_drift(reference, name, columns[name], rows) for name in reference.schema.names)
    name = reference.answers
    scores = _drift(reference, name, columns[name], rows) if name in columns else None
    return DriftReport(
        features=features,
        prediction=ScoreDrift(scores.method, scores.score, scores.threshold, scores.detected)
        if scores and scores.score is not None
        else None,
        reference_rows=reference.rows,
        current_rows=rows,
        single_values={name: single for name in reference.schema.names if (single := columns[name].single)},
        answers=ANSWERS[reference.schema.target.task],
    )


def _drift(reference: PreparedReference, name: str, current: CurrentColumn, rows: int) -> FeatureDrift:
    before = reference.columns[name]
    threshold = reference.threshold(name, rows)
    moved = abs(current.missing_share - before.missing_share)
    return FeatureDrift(
        feature=name,
        method=before.method,
        score=current.distance,
        threshold=threshold,
        detected=not current.constant and has_drifted(current.distance, threshold, moved),
        constant=current.constant,
        missing=MissingShares(before.missing_share, current.missing_share),
        outside_reference=current.outside_share,
        new_categories=current.new_categories,
    )


def has_drifted(score: float | None, threshold: float, missing_moved: float) -> bool:
    """The rule of detection: a score at or over its effective threshold.

    If one side has no values there is no score; the feature has drifted if its missing share moved by more than 0.1.
    """
    return missing_moved > MISSING_MOVED if score is None else score >= threshold
