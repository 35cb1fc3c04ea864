"""Two ingested months of the churn schema, compared as a reference and a current window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from drift.aggregates.databases import snapshot
from drift.aggregates.window import window_columns
from drift.comparison.columns import CurrentColumn
from drift.comparison.compare import PreparedReference, WindowColumns
from drift.comparison.findings import performance_window
from drift.inputs import PAGE_SUBJECTS, ComparisonInputs, model_of
from drift.result import Model, TargetDifference, Window
from leeway.data.tabular import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, clipped, frame_values
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA, SCORE_COLUMN
from leeway.store.engine import translated
from leeway.store.snapshots import Month, Snapshots, SnapshotsUnavailable
from leeway.store.tables import feature_key


def months(snapshots: Snapshots, reference: date, current: date, bundle: Bundle | None) -> ComparisonInputs:
    """Two ingested months, every customer a subject. The database counts the features of the current one.

    With a bundle its plan applies, its model scores both months, and performance is that on the current month's labels.
    Without one the plan is made from the reference month by the same rules.

    Raises:
        leeway.store.snapshots.UnknownMonth: one of the two was never ingested.
        leeway.store.snapshots.SnapshotsUnavailable: the database cannot be reached now.
    """
    before = _read(snapshots.parts(reference), bundle)
    plan = bundle.card.drift if bundle else _plan(before.values)
    compared = PreparedReference(before.values, CHURN_SCHEMA, plan)
    keys = {name: feature_key(name) for name in CHURN_SCHEMA.names}
    with translated(into=SnapshotsUnavailable), snapshot(snapshots.engine) as view:
        columns = window_columns(view, snapshots.rows(current), compared, keys)
    now = _read(snapshots.parts(current), bundle, step=max(1, -(-columns.subjects // PAGE_SUBJECTS)))
    performance, target = None, TargetDifference()
    if now.scores is not None and bundle is not None:
        if SCORE_COLUMN in compared.columns:
            scored = CurrentColumn.of(now.scores, compared.columns[SCORE_COLUMN])
            columns = WindowColumns(columns.subjects, {**columns.columns, SCORE_COLUMN: scored})
        if now.labels is not None:
            performance = performance_window(now.labels, bundle.card.answers(now.scores), bundle.card)
    if before.labels is not None and now.labels is not None:
        target = TargetDifference(abs(float(np.mean(now.labels) - np.mean(before.labels))), len(now.labels))
    return ComparisonInputs(
        reference=compared,
        current=columns,
        sample=lambda: now.values,
        reference_window=Window.between(reference, reference, before.customers, before.customers),
        current_window=Window.between(current, current, columns.subjects, columns.subjects),
        model=model_of(bundle) if bundle else Model(),
        performance=performance,
        target=target,
    )


def _plan(values: Mapping[str, Values]) -> DriftPlan:
    plans = {
        each.name: ColumnPlan.of(each.kind, clipped(values[each.name]), features=len(CHURN_SCHEMA))
        for each in CHURN_SCHEMA
    }
    return DriftPlan(plans)


@dataclass(frozen=True)
class _MonthRead:
    """A month in arrays: the values of every k-th customer, the scores and labels of all."""

    customers: int
    values: dict[str, Values]
    scores: npt.NDArray[np.float64] | None
    labels: list[int] | None


def _read(parts: Iterable[Month], bundle: Bundle | None, *, step: int = 1) -> _MonthRead:
    """Read and score a month in parts, so that at most one part is in memory as objects."""
    values: list[dict[str, Values]] = []
    scores: list[npt.NDArray[np.float64]] = []
    labels: list[int] = []
    customers = 0
    for part in parts:
        frame = typed_frame(CHURN_SCHEMA, part.columns)
        if bundle is not None:
            scores.append(bundle.scorer.score(encode_frame(bundle.encoder, frame)))
            frame = frame.assign(**{SCORE_COLUMN: scores[-1]})
        values.append(frame_values(frame.iloc[-customers % step :: step], CHURN_SCHEMA))
        labels += part.labels or ()
        customers += len(part)
    joined = {name: np.concatenate([each[name] for each in values]) for name in values[0]}
    return _MonthRead(customers, joined, np.concatenate(scores) if scores else None, labels or None)
