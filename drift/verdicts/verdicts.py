"""The four verdicts on a window, the decision and the recommendation. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from drift.comparison.findings import DriftReport, PerformanceWindow, Rejections
from drift.result import Decision, Question, Recommendation, Segments, Verdict
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.performance import judge_performance
from drift.verdicts.quality import judge_quality

FAR_BEYOND: Final = 3.0
"""A score this many times its effective threshold asks for investigation, however few features drifted."""


@dataclass(frozen=True)
class Observation:
    """What one run saw of the window [start, end), aware times.

    Without a `report` nothing was compared, and `unknown_reason` says why. `rejections` and `performance` are None if
    nobody counted them. `segments` have been judged already.
    """

    model_version: str
    start: datetime
    end: datetime
    report: DriftReport | None = None
    unknown_reason: str = "nothing was compared"
    rejections: Rejections | None = None
    performance: PerformanceWindow | None = None
    segments: Segments | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdicts, the decision (by the share alone), the recommendation with its reason, and the new state."""

    verdicts: Mapping[Question, Verdict]
    decision: Decision
    recommendation: Recommendation
    reason: str
    state: State


def judge(seen: Observation, policy: Policy, state: State | None = None) -> Judgement:
    """Judge one window, with the state of the previous run.

    The decision is RETRAIN if the share is at or above its threshold, NO_ACTION if not, UNKNOWN without a report.

    The recommendation is the first of these that applies:
    1. UNKNOWN: nothing was compared. The count of consecutive windows and a standing RETRAIN stay as they are.
    2. RETRAIN: the performance verdict is act, or the share was at or above its threshold in `policy.breaches`
       consecutive windows that do not overlap. It stands while that holds. A new one within the cooldown of the last is
       an INVESTIGATE.
    3. INVESTIGATE: the share is at or above its threshold and not yet confirmed; the quality verdict is act; the score
       of a feature or of the predictions is at least three times its threshold; the verdict of a segment is act.
    4. NO_ACTION.
    """
    state = (state or State(seen.model_version)).at(seen.model_version, seen.end)
    verdicts: dict[Question, Verdict] = {
        "quality": judge_quality(seen.report, seen.rejections, seen.unknown_reason),
        "covariate": judge_covariate(seen.report, policy.threshold, seen.unknown_reason),
        "prediction": judge_prediction(seen.report, seen.unknown_reason),
        "performance": judge_performance(seen.performance, policy.min_labels),
    }
    if seen.report is None:
        return Judgement(verdicts, "UNKNOWN", "UNKNOWN", _why_unknown(seen.unknown_reason, verdicts), state)
    breached = seen.report.share >= policy.threshold
    state = state.after_share(breached=breached, start=seen.start, end=seen.end, breaches=policy.breaches)
    decision: Decision = "RETRAIN" if breached else "NO_ACTION"
    why = _why_retrain(verdicts, seen.report, policy, state)
    if why is None:
        recommendation, reason = _without_retraining(verdicts, seen, policy, state)
        return Judgement(verdicts, decision, recommendation, reason, replace(state, standing=False))
    if until := state.cools_until(seen.end, policy.cooldown_s):
        reason = (
            f"{why} RETRAIN was recommended recently and is not repeated before {until.isoformat(timespec='seconds')}."
        )
        return Judgement(verdicts, decision, "INVESTIGATE", reason, state)
    if verdicts["quality"].state == "act":
        why += f" Fix the data first: {verdicts['quality'].evidence}"
    began = state.retrain_at if state.standing else seen.end
    return Judgement(verdicts, decision, "RETRAIN", why, replace(state, retrain_at=began, standing=True))


def _why_unknown(unknown_reason: str, verdicts: Mapping[Question, Verdict]) -> str:
    """The reason, and what is known to be wrong anyway."""
    wrong = [f"{question} needs action: {each.evidence}" for question, each in verdicts.items() if each.state == "act"]
    return "; ".join([unknown_reason, *wrong])


def _why_retrain(verdicts: Mapping[Question, Verdict], report: DriftReport, policy: Policy, state: State) -> str | None:
    if verdicts["performance"].state == "act":
        return verdicts["performance"].evidence
    if len(state.counted) < policy.breaches:
        return None
    windows = "" if policy.breaches == 1 else f" in {policy.breaches} consecutive windows without overlap"
    return f"The drift share {report.share:.2f} is at or above {policy.threshold:.2f}{windows}."


def _without_retraining(
    verdicts: Mapping[Question, Verdict], seen: Observation, policy: Policy, state: State
) -> tuple[Recommendation, str]:
    report = seen.report
    if report is None:
        raise ValueError("nothing was compared")
    if state.counted:
        confirmed = f"so far in {len(state.counted)} of {policy.breaches} consecutive windows without overlap"
        return "INVESTIGATE", f"The drift share {report.share:.2f} is at or above {policy.threshold:.2f}, {confirmed}."
    if verdicts["quality"].state == "act":
        return "INVESTIGATE", verdicts["quality"].evidence
    if report.detected and report.detected[0].factor >= FAR_BEYOND:
        return "INVESTIGATE", verdicts["covariate"].evidence
    if verdicts["prediction"].state == "act":
        return "INVESTIGATE", verdicts["prediction"].evidence
    if seen.segments and (acting := [each for each in seen.segments.segments if each.verdict.state == "act"]):
        others = f" ({len(acting)} segments need action)" if len(acting) > 1 else ""
        return "INVESTIGATE", f"{seen.segments.by} {acting[0].value}{others}: {acting[0].verdict.evidence}"
    return (
        "NO_ACTION",
        f"The drift share {report.share:.2f} is below {policy.threshold:.2f}, and no verdict needs action.",
    )


def judge_covariate(report: DriftReport | None, threshold: float, unknown_reason: str = "") -> Verdict:
    """Judge the features: `act` if the drifted share is at or above `threshold`, `watch` if any drifted, else `ok`."""
    if report is None:
        return Verdict("unknown", unknown_reason)
    found, of = len(report.detected), len(report.features)
    if not found:
        return Verdict("ok", f"None of {of} features drifted.")
    first = report.detected[0]
    far = "without values to compare" if first.score is None else f"at {first.factor:.1f} times its threshold"
    words = f"{found} of {of} features drifted. The furthest is {first.feature}, {far}."
    return Verdict("act" if report.share >= threshold else "watch", words)


def judge_segment(report: DriftReport, threshold: float) -> Verdict:
    """Judge the features of a segment as those of a window; a feature at three times its threshold is `act`, too."""
    verdict = judge_covariate(report, threshold)
    is_far = bool(report.detected) and report.detected[0].factor >= FAR_BEYOND
    return Verdict("act", verdict.evidence) if is_far else verdict


def judge_prediction(report: DriftReport | None, unknown_reason: str = "") -> Verdict:
    """Judge the model's answers: `act` at three times the effective threshold, `watch` at it, else `ok`.

    Scores and predicted numbers are compared as a whole, of several classes the shares of the predicted ones. The
    effective threshold accounts for chance, see `leeway.model.distances.effective_threshold`.
    """
    if report is None:
        return Verdict("unknown", unknown_reason)
    found = report.prediction
    if found is None or found.score is None or found.threshold is None:
        return Verdict("unknown", f"One of the windows has no {report.answers} to compare.")
    words = (
        f"The distance of the {report.answers} is {found.score:.3f}; the effective threshold is {found.threshold:.3f}."
    )
    if not found.detected:
        return Verdict("ok", words)
    return Verdict("act" if found.score >= FAR_BEYOND * found.threshold else "watch", words)
