"""From two windows to a result: compare, judge, and put what was found into one `RunResult`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import uuid_utils
from msgspec.structs import replace

from drift.comparison.compare import PreparedReference, compare
from drift.comparison.findings import DriftReport, PerformanceWindow, TooFewRows
from drift.inputs import ComparisonInputs, SegmentInputs
from drift.result import (
    SCHEMA,
    FeatureDrift,
    Measure,
    Performance,
    Reports,
    RunResult,
    ScoreDrift,
    Segment,
    Segments,
    Verdict,
)
from drift.telemetry.probe import RunProbe
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.verdicts import Judgement, Observation, judge, judge_segment
from leeway.model.drift_plan import Values
from leeway.model.figures import FIGURES, Figure


class Page(Protocol):
    """A page for people to look at, and its figures as JSON."""

    def write_html(self, path: Path) -> None:
        """Write the page."""
        ...

    def write_json(self, path: Path) -> None:
        """Write the figures."""
        ...


MakePage: TypeAlias = Callable[[PreparedReference, Mapping[str, Values], int], Page]
"""Makes a page of a sample of the window, see `drift.comparison.evidently.evidently_page`."""
_Found = TypeVar("_Found", FeatureDrift, ScoreDrift)


@dataclass(frozen=True)
class Evaluation:
    """`report` is None if there were too few rows to compare; `result.reason` then says so.

    `page` is None without a report, or if none was asked for.
    """

    result: RunResult
    state: State
    report: DriftReport | None
    page: Page | None = None


def evaluate(
    inputs: ComparisonInputs,
    policy: Policy,
    state: State | None = None,
    *,
    min_subjects: int,
    run_id: str | None = None,
    reports: Reports | None = None,
    probe: RunProbe | None = None,
    make_page: MakePage | None = None,
) -> Evaluation:
    """Compare the windows, judge what was found with the state of the previous run, and return the result.

    `reports` is where the page will be written; the result names them if there is a page. `run_id` is a new UUIDv7 by
    default. Errors other than `TooFewRows` pass through.

    Customers 30 years older than the reference:

    >>> import numpy as np
    >>> from drift.comparison.compare import WindowColumns
    >>> from drift.result import Window
    >>> from leeway.model.drift_plan import ColumnPlan, DriftPlan
    >>> from leeway.schema import Feature, FeatureSchema
    >>> ages = {"age": np.arange(20.0, 70.0)}
    >>> plan = DriftPlan({"age": ColumnPlan("wasserstein", 0.1, 2.0)})
    >>> reference = PreparedReference(ages, FeatureSchema((Feature("age", "integer"),)), plan)
    >>> older = WindowColumns.of({"age": ages["age"] + 30}, reference)
    >>> inputs = ComparisonInputs(reference, older, dict, Window(), Window(subjects=50))
    >>> result = evaluate(inputs, Policy().at_once(), min_subjects=20).result
    >>> result.recommendation, result.verdicts["covariate"].evidence
    ('RETRAIN', '1 of 1 features drifted. The furthest is age, at 5.2 times its threshold.')
    """
    probe = probe or RunProbe()
    with probe.stage("compare"):
        report, unknown_reason = _compare(inputs, min_subjects)
        segments = _segments(inputs, policy, min_subjects)
        page = make_page(inputs.reference, inputs.sample(), inputs.current.subjects) if report and make_page else None
    with probe.stage("judge"):
        now = datetime.now(UTC)
        seen = Observation(
            inputs.model.version or "",
            inputs.current_window.start or now,
            inputs.current_window.end or now,
            report=report,
            unknown_reason=unknown_reason,
            rejections=inputs.rejections,
            performance=inputs.performance,
            segments=segments,
        )
        judgement = judge(seen, policy, state)
        result = replace(
            _verdicts_only(judgement, policy, run_id),
            reference=inputs.reference_window,
            current=inputs.current_window,
            model=inputs.model,
            target=inputs.target,
            performance=_performance(inputs.performance),
            segments=segments,
            trace_id=probe.trace_id,
        )
        if report:
            result = replace(
                result,
                share=round(report.share, 4),
                features=tuple(_finite(each) for each in report.features),
                prediction=_finite(report.prediction or ScoreDrift()),
                reports=reports if reports and page else Reports(),
            )
    return Evaluation(result, judgement.state, report, page)


def unknown_result(reason: str, policy: Policy) -> RunResult:
    """The result of a comparison that could not start."""
    now = datetime.now(UTC)
    return _verdicts_only(judge(Observation("", now, now, unknown_reason=reason), policy), policy, None)


def _compare(inputs: ComparisonInputs, min_subjects: int) -> tuple[DriftReport | None, str]:
    """The report, or None and the reason."""
    try:
        return compare(inputs.reference, inputs.current, min_subjects=min_subjects), ""
    except TooFewRows as error:
        return None, str(error)


def _segments(inputs: ComparisonInputs, policy: Policy, min_subjects: int) -> Segments | None:
    """Each segment compared and judged, the worst first; None if the window is not divided."""
    if inputs.by is None:
        return None
    found = [_segment(each, policy, min_subjects) for each in inputs.segments]
    states = ("act", "watch", "ok", "unknown")
    return Segments(
        inputs.by, tuple(sorted(found, key=lambda each: (states.index(each.verdict.state), -each.worst, each.value)))
    )


def _segment(inputs: SegmentInputs, policy: Policy, min_subjects: int) -> Segment:
    subjects = inputs.current.subjects
    if inputs.reference is None:
        return Segment(inputs.value, subjects, None, Verdict("unknown", "The reference does not have this value."))
    try:
        report = compare(inputs.reference, inputs.current, min_subjects=min_subjects)
    except TooFewRows as error:
        return Segment(inputs.value, subjects, None, Verdict("unknown", str(error)))
    features = tuple(_finite(each) for each in report.features)
    return Segment(inputs.value, subjects, round(report.share, 4), judge_segment(report, policy.threshold), features)


def _verdicts_only(judgement: Judgement, policy: Policy, run_id: str | None) -> RunResult:
    return RunResult(
        schema=SCHEMA,
        run_id=run_id or str(uuid_utils.uuid7()),
        threshold=policy.threshold,
        decision=judgement.decision,
        recommendation=judgement.recommendation,
        reason=judgement.reason,
        verdicts=judgement.verdicts,
    )


def _performance(seen: PerformanceWindow | None) -> Performance:
    if seen is None:
        return Performance()
    known = [name for name in FIGURES[seen.task] if name in seen.card or name in seen.live]
    return Performance({name: _measure(seen, name) for name in known}, labels=seen.labels)


def _measure(seen: PerformanceWindow, name: Figure) -> Measure:
    card, live = seen.card.get(name), seen.live.get(name)
    reference = card.value if card else None
    if live is None:
        return Measure(reference, reason=seen.reasons.get(name))
    return Measure(reference, live.value, live.low, live.high)


def _finite(found: _Found) -> _Found:
    """A distance that overflowed has no place in JSON."""
    return found if found.score is None or math.isfinite(found.score) else replace(found, score=None)
