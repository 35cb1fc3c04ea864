"""A single comparison, decided at once: two ingested months, or what was served against the bundle's reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
import uuid_utils

from drift.comparison.compare import SCORE_COLUMN
from drift.comparison.evidently import Comparison, compute_drift
from drift.comparison.findings import PerformanceWindow, Rejections, TooFewRows, performance_window
from drift.inputs import ActiveBundle, read_window
from drift.result import Document, Run, Side, Target, result_document
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Observation, judge
from leeway.data.frames import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store.snapshots import Month, Snapshots

ReportWriter = Callable[[Comparison], Mapping[str, str]]
"""Writes Evidently's reports of a comparison and says where: `html` and `json`."""


@dataclass(frozen=True)
class ComparisonInputs:
    """Two frames with one row a subject, and what else is known of them. Without a bundle there are no scores."""

    reference: pd.DataFrame
    current: pd.DataFrame
    reference_side: Side
    current_side: Side
    schema: FeatureSchema
    plan: DriftPlan
    bundle: Bundle | None = None
    rejections: Rejections | None = None
    performance: PerformanceWindow | None = None
    target: Target | None = None


def months(snapshots: Snapshots, reference: date, current: date, bundle: Bundle | None) -> ComparisonInputs:
    """Two ingested months, every customer a subject.

    With a bundle its plan holds, its model scores both months, and performance is that on the current month's labels.
    Without one the plan is made of the reference month by the same rules.

    Raises:
        leeway.store.snapshots.UnknownMonth: one of the two was never ingested.
        leeway.store.snapshots.SnapshotsUnavailable: the database cannot be reached now.
    """
    before, now = snapshots.read(reference), snapshots.read(current)
    frames = [_scored(typed_frame(CHURN_SCHEMA, month.columns), bundle) for month in (before, now)]
    performance, target = None, None
    if bundle is not None and now.labels is not None:
        performance = performance_window(now.labels, frames[1][SCORE_COLUMN].to_numpy(), bundle.card)
    if before.labels is not None and now.labels is not None:
        target = Target(abs(float(np.mean(now.labels) - np.mean(before.labels))), len(now.labels))
    return ComparisonInputs(
        reference=frames[0],
        current=frames[1],
        reference_side=_side(before),
        current_side=_side(now),
        schema=CHURN_SCHEMA,
        plan=bundle.card.drift if bundle else DriftPlan.from_reference(CHURN_SCHEMA, frames[0]),
        bundle=bundle,
        performance=performance,
        target=target,
    )


def live(
    in_force: ActiveBundle, now: datetime, window_s: float, *, max_subjects: int, max_labels: int
) -> ComparisonInputs:
    """The last `window_s` seconds of served predictions beside the bundle's reference.

    Raises:
        leeway.store.engine.DatabaseError: the database cannot be reached now.
    """
    start = now - timedelta(seconds=window_s)
    served = read_window(in_force, start, now, max_subjects=max_subjects, max_labels=max_labels)
    rows = len(in_force.reference)
    return ComparisonInputs(
        reference=in_force.reference,
        current=served.frame,
        reference_side=Side(rows=rows, subjects=rows),
        current_side=Side(start, now, served.window.rows, served.window.subjects),
        schema=in_force.bundle.schema,
        plan=in_force.plan,
        bundle=in_force.bundle,
        rejections=served.rejections,
        performance=served.performance,
        target=served.target,
    )


def decide(
    sides: ComparisonInputs,
    policy: Policy,
    write_reports: ReportWriter,
    *,
    min_subjects: int,
    compare: Callable[..., Comparison] = compute_drift,
) -> Document:
    """Compare, judge at once (one window, no cooldown), write the reports, and return the result document."""
    comparison, blind = None, ""
    try:
        comparison = compare(
            sides.reference,
            sides.current,
            sides.schema,
            sides.plan,
            min_subjects=min_subjects,
            current_subjects=sides.current_side.subjects,
        )
    except TooFewRows as error:
        blind = str(error)
    seen = Observation(
        model_version=sides.bundle.version if sides.bundle else "",
        start=_moment(sides.current_side.start),
        end=_moment(sides.current_side.end),
        report=comparison.report if comparison else None,
        blind=blind,
        rejections=sides.rejections,
        performance=sides.performance,
    )
    written = write_reports(comparison) if comparison else {}
    return result_document(
        _run(sides.reference_side, sides.current_side, sides.bundle, written),
        judge(seen, policy.at_once()),
        policy.threshold,
        report=seen.report,
        performance=sides.performance,
        target=sides.target,
    )


def unknown_result(reason: str, policy: Policy, bundle: Bundle | None = None) -> Document:
    """The document of a comparison that could not even be begun."""
    now = datetime.now(UTC)
    seen = Observation(bundle.version if bundle else "", now, now, blind=reason)
    judgement = judge(seen, policy.at_once())
    return result_document(_run(Side(), Side(), bundle, {}), judgement, policy.threshold, report=None)


def _run(reference: Side, current: Side, bundle: Bundle | None, written: Mapping[str, str]) -> Run:
    return Run(
        str(uuid_utils.uuid7()),
        reference,
        current,
        model_name=bundle.name if bundle else None,
        model_version=bundle.version if bundle else None,
        html=written.get("html"),
        json=written.get("json"),
    )


def _side(month: Month) -> Side:
    return Side(month.as_of, month.as_of, len(month), len(month))


def _scored(frame: pd.DataFrame, bundle: Bundle | None) -> pd.DataFrame:
    if bundle is None:
        return frame
    return frame.assign(**{SCORE_COLUMN: bundle.scorer.score(encode_frame(bundle.encoder, frame))})


def _moment(day: date | datetime | None) -> datetime:
    if isinstance(day, datetime):
        return day
    return datetime.combine(day, time(), UTC) if day else datetime.now(UTC)
