"""From two windows to a result: compare, judge, and put what was found into one `RunResult`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import uuid_utils
from msgspec.structs import replace

from drift.comparison.evidently import Comparison, compute_drift
from drift.comparison.findings import PerformanceWindow, TooFewRows
from drift.inputs import ComparisonInputs
from drift.result import SCHEMA, FeatureDrift, Measure, Model, Performance, Reports, RunResult, ScoreDrift
from drift.telemetry.probe import RunProbe
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.verdicts import Judgement, Observation, judge
from leeway.model.performance import Estimate

Compare: TypeAlias = Callable[..., Comparison]
"""Compares two frames; see `drift.comparison.evidently.compute_drift`."""
_Found = TypeVar("_Found", FeatureDrift, ScoreDrift)


@dataclass(frozen=True)
class Evaluation:
    """`comparison` is None if there were too few rows to compare; `result.reason` then says so."""

    result: RunResult
    state: State
    comparison: Comparison | None


def evaluate(
    inputs: ComparisonInputs,
    policy: Policy,
    state: State | None = None,
    *,
    min_subjects: int,
    run_id: str | None = None,
    reports: Reports | None = None,
    probe: RunProbe | None = None,
    compare: Compare = compute_drift,
) -> Evaluation:
    """Compare the windows, judge what was found with the state of the previous run, and return the result.

    `reports` is where Evidently's reports will be written; the result names them if there is a comparison. `run_id` is
    a new UUIDv7 by default. Errors of `compare` other than `TooFewRows` pass through.

    Customers 30 years older than the reference, measured without Evidently:

    >>> import pandas as pd
    >>> from drift.comparison import compare as rules
    >>> from drift.result import Window
    >>> from leeway.schema import Feature, FeatureSchema
    >>> schema = FeatureSchema((Feature("age", "integer"),))
    >>> before = pd.DataFrame({"age": range(20, 70)})
    >>> plan = rules.DriftPlan.from_reference(schema, before)
    >>> def compare(reference, current, schema, plan, **sizes):
    ...     prepared = rules.Reference(reference, schema, plan)
    ...     return Comparison(rules.compare(prepared, current, rules.plain_measure, **sizes), snapshot=None)
    >>> inputs = ComparisonInputs(before, before + 30, Window(), Window(subjects=50), schema, plan)
    >>> result = evaluate(inputs, Policy().at_once(), min_subjects=20, compare=compare).result
    >>> result.recommendation, result.verdicts["covariate"].evidence
    ('RETRAIN', '1 of 1 features drifted. The furthest is age, at 5.0 times its threshold.')
    """
    probe = probe or RunProbe()
    with probe.stage("compare"):
        comparison, unknown_reason = _compare(inputs, min_subjects, compare)
    with probe.stage("judge"):
        now = datetime.now(UTC)
        seen = Observation(
            inputs.bundle.version if inputs.bundle else "",
            inputs.current_window.start or now,
            inputs.current_window.end or now,
            report=comparison.report if comparison else None,
            unknown_reason=unknown_reason,
            rejections=inputs.rejections,
            performance=inputs.performance,
        )
        judgement = judge(seen, policy, state)
        result = replace(
            _verdicts_only(judgement, policy, run_id),
            reference=inputs.reference_window,
            current=inputs.current_window,
            model=Model(inputs.bundle.name, inputs.bundle.version) if inputs.bundle else Model(),
            target=inputs.target,
            performance=_performance(inputs.performance),
            trace_id=probe.trace_id,
        )
        if comparison:
            result = replace(
                result,
                share=round(comparison.report.share, 4),
                features=tuple(_finite(each) for each in comparison.report.features),
                prediction=_finite(comparison.report.prediction or ScoreDrift()),
                reports=reports or Reports(),
            )
    return Evaluation(result, judgement.state, comparison)


def unknown_result(reason: str, policy: Policy) -> RunResult:
    """The result of a comparison that could not start."""
    now = datetime.now(UTC)
    return _verdicts_only(judge(Observation("", now, now, unknown_reason=reason), policy), policy, None)


def _compare(inputs: ComparisonInputs, min_subjects: int, compare: Compare) -> tuple[Comparison | None, str]:
    """The comparison, or None and the reason."""
    frames = inputs.reference, inputs.current, inputs.schema, inputs.plan
    try:
        return compare(*frames, min_subjects=min_subjects, current_subjects=inputs.current_window.subjects), ""
    except TooFewRows as error:
        return None, str(error)


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
    return Performance(
        _measure(seen.card_roc_auc, seen.roc_auc), _measure(seen.card_brier, seen.brier), labels=seen.labels
    )


def _measure(card: Estimate | None, live: Estimate | None) -> Measure:
    reference = card.value if card else None
    return Measure(reference, live.value, live.low, live.high) if live else Measure(reference)


def _finite(found: _Found) -> _Found:
    """A distance that overflowed has no place in JSON."""
    return found if found.score is None or math.isfinite(found.score) else replace(found, score=None)
