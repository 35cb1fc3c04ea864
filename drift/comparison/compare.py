"""The rules of comparing a window with its reference. The caller provides the function that measures distances.

`drift.comparison.evidently` measures with Evidently; the null test and the power table measure with
`leeway.model.distances`, and a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from drift.comparison.columns import CurrentColumn, ReferenceColumn, labels, most_frequent_new
from drift.comparison.findings import MISSING_MOVED, DriftReport, TooFewRows
from drift.result import FeatureDrift, MissingShares, ScoreDrift
from leeway.model.distances import Method, jensenshannon, wasserstein_normed
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values
from leeway.schema import SCORE_COLUMN, FeatureSchema


@dataclass(frozen=True)
class Pair:
    """Two columns to measure: numbers for `wasserstein`, text for `jensenshannon`; something is present in each."""

    name: str
    method: Method
    threshold: float
    reference: Values
    current: Values


Measure: TypeAlias = Callable[[Sequence[Pair]], Mapping[str, float]]
"""Takes pairs and returns the distance of each by name."""


def plain_measure(pairs: Sequence[Pair]) -> dict[str, float]:
    """Measure with `leeway.model.distances`: fast, and without a report."""
    return {each.name: _distance(each) for each in pairs}


def _distance(pair: Pair) -> float:
    if pair.method == "wasserstein":
        return wasserstein_normed(pair.reference, pair.current)
    codes, _ = pd.factorize(np.concatenate([pair.reference, pair.current]))  # numbers are counted faster than text
    known = np.where(codes < 0, np.nan, codes)
    return jensenshannon(known[: pair.reference.size], known[pair.reference.size :])


class Reference:
    """A reference, prepared once and compared with any number of windows.

    `frame` holds m rows of the schema's features, and `_score` where the model's scores are known.

    Raises:
        TooFewRows: the frame is empty.
    """

    def __init__(self, frame: pd.DataFrame, schema: FeatureSchema, plan: DriftPlan) -> None:
        if frame.empty:
            raise TooFewRows("the reference has no rows")
        self.rows = len(frame)
        self.plan = plan
        self.columns = [
            ReferenceColumn.of(each.name, each.kind, frame[each.name], each.seen.categories) for each in schema
        ]
        scored = plan.score is not None and SCORE_COLUMN in frame
        self.scores = ReferenceColumn.of(SCORE_COLUMN, "number", frame[SCORE_COLUMN]) if scored else None


def compare(
    reference: Reference,
    current: pd.DataFrame,
    measure: Measure,
    *,
    min_subjects: int = 0,
    current_subjects: int | None = None,
) -> DriftReport:
    """Compare a window, a frame with one row a subject, with its reference; `measure` is called once.

    See `drift.comparison.evidently.compute_drift`.
    """
    rows = len(current)
    if rows < max(1, min_subjects):
        raise TooFewRows(f"{rows:,} subjects are too few to compare; at least {max(1, min_subjects):,} are needed")
    judged = [
        _Column(each, CurrentColumn.of(current[each.name], each), reference.plan.features[each.name])
        for each in reference.columns
    ]
    scores, scored = reference.scores, None
    if scores is not None and reference.plan.score is not None and SCORE_COLUMN in current:
        scored = _Column(scores, CurrentColumn.of(current[SCORE_COLUMN], scores), reference.plan.score)
    pairs = [each.pair(rows, reference.rows) for each in [*judged, *([scored] if scored else [])] if each.measurable]
    distances = measure(pairs)
    found = scored.drift(distances, rows, reference.rows) if scored and scored.measurable else None
    return DriftReport(
        features=tuple(each.drift(distances, rows, reference.rows) for each in judged),
        prediction=ScoreDrift(found.method, found.score, found.threshold, found.detected) if found else None,
        reference_rows=reference.rows,
        current_rows=rows,
        current_subjects=rows if current_subjects is None else current_subjects,
        single_values={each.name: each.current.single for each in judged if each.current.single},
    )


@dataclass(frozen=True)
class _Column:
    """One column of both windows."""

    reference: ReferenceColumn
    current: CurrentColumn
    plan: ColumnPlan

    @property
    def name(self) -> str:
        return self.reference.name

    @property
    def measurable(self) -> bool:
        """Whether both sides have a value: if not there is no distance, and Evidently raises."""
        return max(self.reference.missing_share, self.current.missing_share) < 1

    def pair(self, rows: int, reference_rows: int) -> Pair:
        before, after = self.reference.entries, self.current.entries
        if self.plan.method == "jensenshannon":
            named = most_frequent_new(after, self.reference)
            before, after = (labels(values, self.reference, named) for values in (before, after))
        return Pair(self.name, self.plan.method, self.plan.threshold_at(rows, reference_rows), before, after)

    def drift(self, distances: Mapping[str, float], rows: int, reference_rows: int) -> FeatureDrift:
        threshold = self.plan.threshold_at(rows, reference_rows)
        score = distances[self.name] if self.measurable else None
        constant = self.current.constant
        moved = abs(self.current.missing_share - self.reference.missing_share)
        return FeatureDrift(
            feature=self.name,
            method=self.plan.method,
            score=score,
            threshold=threshold,
            detected=not constant and has_drifted(score, threshold, moved),
            constant=constant,
            missing=MissingShares(self.reference.missing_share, self.current.missing_share),
            outside_reference=self.current.outside_share,
            new_categories=self.current.new_categories,
        )


def has_drifted(score: float | None, threshold: float, missing_moved: float) -> bool:
    """The rule of detection: a score at or over its effective threshold.

    If one side has no values there is no score; the feature has drifted if its missing share moved by more than 0.1.
    """
    return missing_moved > MISSING_MOVED if score is None else score >= threshold
