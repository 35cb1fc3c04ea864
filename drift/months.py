"""Two ingested months of the churn schema, compared as a reference and a current window."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from drift.comparison.compare import PreparedReference, WindowColumns
from drift.comparison.findings import performance_window
from drift.inputs import PAGE_SUBJECTS, ComparisonInputs, model_of
from drift.result import Model, TargetDifference, Window
from leeway.data.tabular import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan, frame_values
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA, SCORE_COLUMN
from leeway.store.snapshots import Snapshots


def months(snapshots: Snapshots, reference: date, current: date, bundle: Bundle | None) -> ComparisonInputs:
    """Two ingested months, every customer a subject.

    With a bundle its plan applies, its model scores both months, and performance is that on the current month's labels.
    Without one the plan is made from the reference month by the same rules.

    Raises:
        leeway.store.snapshots.UnknownMonth: one of the two was never ingested.
        leeway.store.snapshots.SnapshotsUnavailable: the database cannot be reached now.
    """
    before, now = snapshots.read(reference), snapshots.read(current)
    frames = [_scored(typed_frame(CHURN_SCHEMA, month.columns), bundle) for month in (before, now)]
    performance, target = None, TargetDifference()
    if bundle is not None and now.labels is not None:
        scores = frames[1][SCORE_COLUMN].to_numpy()
        performance = performance_window(now.labels, bundle.card.answers(scores), bundle.card)
    if before.labels is not None and now.labels is not None:
        target = TargetDifference(abs(float(np.mean(now.labels) - np.mean(before.labels))), len(now.labels))
    plan = bundle.card.drift if bundle else DriftPlan.from_reference(CHURN_SCHEMA, frames[0])
    compared = PreparedReference(frame_values(frames[0], CHURN_SCHEMA), CHURN_SCHEMA, plan)
    taken = frames[1] if len(now) <= PAGE_SUBJECTS else frames[1].sample(PAGE_SUBJECTS, random_state=0)
    return ComparisonInputs(
        reference=compared,
        current=WindowColumns.of(frame_values(frames[1], CHURN_SCHEMA), compared),
        sample=lambda: frame_values(taken, CHURN_SCHEMA),
        reference_window=Window.between(reference, reference, len(before), len(before)),
        current_window=Window.between(current, current, len(now), len(now)),
        model=model_of(bundle) if bundle else Model(),
        performance=performance,
        target=target,
    )


def _scored(frame: pd.DataFrame, bundle: Bundle | None) -> pd.DataFrame:
    if bundle is None:
        return frame
    return frame.assign(**{SCORE_COLUMN: bundle.scorer.score(encode_frame(bundle.encoder, frame))})
