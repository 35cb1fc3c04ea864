"""The four verdicts on a window, and what to do about it: pure rules, each stated where it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from drift.comparison.findings import DriftReport, PerformanceWindow, Rejections
from drift.result import Decision, Question, Recommendation, Verdict, VerdictState
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.quality import judge_quality
from leeway.model.performance import Estimate

FAR_BEYOND: Final = 3.0
"""A score of so many times its effective threshold calls for a look, however few features drifted."""
ROC_AUC_MARGIN: Final = 0.02
BRIER_MARGIN: Final = 0.01
"""A loss that is certain but smaller than these is no reason to train again."""


@dataclass(frozen=True)
class Observation:
    """What one run saw of the window [start, end), aware times.

    Without a `report` nothing was compared, and `unknown_reason` says why. `rejections` and `performance` are None if
    nobody counted them.
    """

    model_version: str
    start: datetime
    end: datetime
    report: DriftReport | None = None
    unknown_reason: str = "nothing was compared"
    rejections: Rejections | None = None
    performance: PerformanceWindow | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdicts; the decision, which is the plain rule on the share; the recommendation, why, and the new state."""

    verdicts: Mapping[Question, Verdict]
    decision: Decision
    recommendation: Recommendation
    reason: str
    state: State


def judge(seen: Observation, policy: Policy, state: State | None = None) -> Judgement:
    """Judge one window, with the state that the run before left.

    The decision is RETRAIN where the share is at or over its threshold, else NO_ACTION; UNKNOWN without a report.

    The recommendation is the first of these that holds:
    1. UNKNOWN: nothing could be compared. It neither counts nor breaks a row, and a RETRAIN that stood may go on.
    2. RETRAIN: performance acts, or the share was at or over its threshold in `policy.breaches` windows in a row that
       do not overlap. It stands while that holds. A new one within the cooldown of the last is an INVESTIGATE.
    3. INVESTIGATE: the share is over and not yet confirmed; quality acts; a feature's score, or that of the
       predictions, is at least three times its threshold.
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
        recommendation, reason = _without_retraining(verdicts, seen.report, policy, state)
        return Judgement(verdicts, decision, recommendation, reason, replace(state, standing=False))
    if until := state.cools_until(seen.end, policy.cooldown_s):
        reason = f"{why} The last RETRAIN is recent: no new one before {until.isoformat(timespec='seconds')}."
        return Judgement(verdicts, decision, "INVESTIGATE", reason, state)
    if verdicts["quality"].state == "act":
        why += f" Mend the data first: {verdicts['quality'].evidence}"
    began = state.retrain_at if state.standing else seen.end
    return Judgement(verdicts, decision, "RETRAIN", why, replace(state, retrain_at=began, standing=True))


def _why_unknown(unknown_reason: str, verdicts: Mapping[Question, Verdict]) -> str:
    """What is wrong all the same is not kept back."""
    wrong = [f"{question} acts: {each.evidence}" for question, each in verdicts.items() if each.state == "act"]
    return "; ".join([unknown_reason, *wrong])


def _why_retrain(verdicts: Mapping[Question, Verdict], report: DriftReport, policy: Policy, state: State) -> str | None:
    if verdicts["performance"].state == "act":
        return verdicts["performance"].evidence
    if len(state.counted) < policy.breaches:
        return None
    windows = "" if policy.breaches == 1 else f" in {policy.breaches} windows in a row that do not overlap"
    return f"The drift share {report.share:.2f} is at or over {policy.threshold:.2f}{windows}."


def _without_retraining(
    verdicts: Mapping[Question, Verdict], report: DriftReport, policy: Policy, state: State
) -> tuple[Recommendation, str]:
    if state.counted:
        confirmed = f"so far in {len(state.counted)} of {policy.breaches} windows in a row that do not overlap"
        return "INVESTIGATE", f"The drift share {report.share:.2f} is at or over {policy.threshold:.2f}, {confirmed}."
    if verdicts["quality"].state == "act":
        return "INVESTIGATE", verdicts["quality"].evidence
    if report.detected and report.detected[0].factor >= FAR_BEYOND:
        return "INVESTIGATE", verdicts["covariate"].evidence
    if verdicts["prediction"].state == "act":
        return "INVESTIGATE", verdicts["prediction"].evidence
    return "NO_ACTION", f"The drift share {report.share:.2f} is under {policy.threshold:.2f}, and no verdict acts."


def judge_covariate(report: DriftReport | None, threshold: float, unknown_reason: str = "") -> Verdict:
    """Judge the features: `act` where the drifted share is at or over `threshold`, `watch` where any did, or `ok`."""
    if report is None:
        return Verdict("unknown", unknown_reason)
    found, of = len(report.detected), len(report.features)
    sample = ""
    if report.current_rows < report.current_subjects:
        sample = f" (on a sample of {report.current_rows:,} of {report.current_subjects:,} subjects)"
    if not found:
        return Verdict("ok", f"None of {of} features drifted{sample}.")
    first = report.detected[0]
    far = "it has no values to compare" if first.score is None else f"{first.factor:.1f} times its threshold"
    words = f"{found} of {of} features drifted{sample}, the furthest {first.feature}: {far}."
    return Verdict("act" if report.share >= threshold else "watch", words)


def judge_prediction(report: DriftReport | None, unknown_reason: str = "") -> Verdict:
    """Judge the model's scores: `act` at three times the effective threshold, `watch` at it, else `ok`."""
    found = None if report is None else report.prediction
    if found is None or found.score is None or found.threshold is None:
        return Verdict("unknown", unknown_reason if report is None else "There are no scores on both sides to compare.")
    words = f"The scores moved by {found.score:.3f}; {found.threshold:.3f} stands out from chance."
    if not found.detected:
        return Verdict("ok", words)
    return Verdict("act" if found.score >= FAR_BEYOND * found.threshold else "watch", words)


def judge_performance(seen: PerformanceWindow | None, min_labels: int) -> Verdict:
    """Judge the model by its labels, against its card.

    The loss of ROC AUC has a 95 % interval of its own, made of the two (Newcombe, Statistics in Medicine 17, 1998; for
    any two estimates Zou and Donner, Statistics in Medicine 27, 2008): its lower end is loss − √(a² + b²), with a from
    the card's value down to its lower end, and b from the live value up to its upper end.

    `act` where that lower end is over 0.02, or where the Brier score's interval lies more than 0.01 above p(1 − p), the
    score of always answering the share p of positives: then a constant would do better. `watch` where the lower end is
    over 0, or the Brier score rose for certain by more than 0.01 (it also rises where customers are harder to tell
    apart, which no training mends). Else `ok`.

    `unknown` below `min_labels`, with one class only, or where the card has no ROC AUC. Both rules compare with chance,
    so a weak model needs more labels to be told from a coin; a good one needs few.
    """
    if seen is None:
        return Verdict("unknown", "There are no labels to judge by.")
    if seen.labels < min_labels:
        return Verdict("unknown", f"{seen.labels:,} labels so far; {min_labels:,} are needed.")
    live, card = seen.roc_auc, seen.card_roc_auc
    if live is None:
        return Verdict("unknown", f"All {seen.labels:,} labels are of one class.")
    if card is None:
        return Verdict("unknown", f"ROC AUC {live.value:.2f} on {seen.labels:,} labels, and no card to compare with.")
    state, words = _against_card(seen, live, card)
    interval = f"{live.low:.2f}...{live.high:.2f} on {seen.labels:,} labels"
    return Verdict(state, f"ROC AUC {card.value:.2f} -> {live.value:.2f}, {interval}: {words}.")


def _against_card(seen: PerformanceWindow, live: Estimate, card: Estimate) -> tuple[VerdictState, str]:
    lost = _surely_above(card, live)
    if lost > ROC_AUC_MARGIN:
        return "act", f"it fell for certain by more than {ROC_AUC_MARGIN:.2f}"
    if _worse_than_constant(seen):
        return "act", "by the Brier score a constant answer would do better"
    if lost > 0:
        return "watch", "it fell for certain, by little"
    if seen.brier and seen.card_brier and _surely_above(seen.brier, seen.card_brier) > BRIER_MARGIN:
        return "watch", f"it holds, but the Brier score rose from {seen.card_brier.value:.3f} to {seen.brier.value:.3f}"
    return "ok", "as on the card"


def _surely_above(upper: Estimate, lower: Estimate) -> float:
    """The lower end of the 95 % interval of `upper` − `lower`."""
    return upper.value - lower.value - math.hypot(upper.value - upper.low, lower.high - lower.value)


def _worse_than_constant(seen: PerformanceWindow) -> bool:
    p = seen.positive_share
    return seen.brier is not None and p is not None and seen.brier.low > p * (1 - p) + BRIER_MARGIN
