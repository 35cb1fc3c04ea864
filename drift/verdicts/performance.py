"""The performance verdict: does the model still do as well as on its card? Pure functions.

Chance must not raise an alarm. Live figures are estimates, and so are those of the card: the 95 % interval of what was
lost is made of both intervals (Newcombe, Statistics in Medicine 17, 1998, for proportions; for any two estimates Zou
and Donner, Statistics in Medicine 27, 2008): its lower end is loss - √(a² + b²), with a from the better value to the
end of its interval on the side of the worse one, and b likewise for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, TypeAlias

from drift.comparison.findings import PerformanceWindow
from drift.result import Verdict, VerdictState
from leeway.model.figures import FIGURES, TITLES, Figure
from leeway.model.performance import Estimate

ROC_AUC_MARGIN: Final = 0.02
BRIER_MARGIN: Final = 0.01
ACCURACY_MARGIN: Final = 0.02
LOG_LOSS_MARGIN: Final = 0.02
ERROR_MARGIN: Final = 0.10
"""A smaller loss is not a reason to retrain, even if it is significant; that of an error is a share of the card's."""

Finding: TypeAlias = tuple[VerdictState, str]


def judge_performance(seen: PerformanceWindow | None, min_labels: int) -> Verdict:
    """Judge the model on labelled predictions, against its card and against a constant answer to the same labels.

    A binary model: `act` if surely more than 0.02 of the ROC AUC are lost, or if the Brier score surely is more than
    0.01 above that of the share of positives. `watch` if any of the ROC AUC surely is lost, or the Brier score surely
    rose by more than 0.01 (it also rises if customers are harder to distinguish, which retraining does not change).

    Of several classes: `act` if surely more than 0.02 of the accuracy are lost, or if always predicting the most
    frequent class surely is better by so much. `watch` if any of the accuracy surely is lost, more than 0.02 of macro
    F1, or if the log loss surely rose by more than 0.02.

    A regression: `act` if the mean absolute error surely rose by more than 10 %, or if R² surely is below 0, that of
    the mean of the labels. `watch` if the mean absolute error surely rose, or the root of the mean squared error by
    more than 10 %: a few large errors count more in it.

    Otherwise `ok`. `unknown` below `min_labels`, if the labels allow no figure (one class only), or if the card has
    none. All rules allow for chance: a weak model needs more labels than a good one before a loss shows.
    """
    if seen is None:
        return Verdict("unknown", "There are no labels.")
    if seen.labels < min_labels:
        return Verdict("unknown", f"{seen.labels:,} labels so far; {min_labels:,} are needed.")
    first = FIGURES[seen.task][0]
    live, card = seen.live.get(first), seen.card.get(first)
    if live is None:
        return Verdict("unknown", f"All {seen.labels:,} labels are of one class.")
    title = TITLES[first]
    if card is None:
        return Verdict("unknown", f"{title} {shown(first, live.value)} on {seen.labels:,} labels; the card has none.")
    findings = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[seen.task](seen)
    state, words = next(findings, ("ok", "as on the card"))
    interval = f"{shown(first, live.low)}...{shown(first, live.high)} on {seen.labels:,} labels"
    return Verdict(state, f"{title} {shown(first, card.value)} -> {shown(first, live.value)}, {interval}: {words}.")


def shown(figure: Figure, value: float) -> str:
    """A figure's value for people: errors in the target's unit have four digits, all else two decimals."""
    return f"{value:.4g}" if figure in ("mae", "rmse") else f"{value:.2f}"


def _binary(seen: PerformanceWindow) -> Iterator[Finding]:
    """What is wrong, the worst first."""
    lost = _lost(seen, "roc_auc")
    if lost > ROC_AUC_MARGIN:
        yield "act", f"a significant loss of more than {ROC_AUC_MARGIN:.2f}"
    if "brier" in seen.baseline and seen.live["brier"].low > seen.baseline["brier"] + BRIER_MARGIN:
        yield "act", "by the Brier score a constant prediction is better"
    if lost > 0:
        yield "watch", "a small but significant loss"
    if _risen(seen, "brier") > BRIER_MARGIN:
        yield "watch", _rose(seen, "brier")


def _multiclass(seen: PerformanceWindow) -> Iterator[Finding]:
    lost = _lost(seen, "accuracy")
    if lost > ACCURACY_MARGIN:
        yield "act", f"a significant loss of more than {ACCURACY_MARGIN:.2f}"
    if "accuracy" in seen.baseline and seen.live["accuracy"].high < seen.baseline["accuracy"] - ACCURACY_MARGIN:
        yield "act", "always predicting the most frequent class is better"
    if lost > 0:
        yield "watch", "a small but significant loss"
    if _lost(seen, "macro_f1") > ACCURACY_MARGIN:
        before, now = seen.card["macro_f1"].value, seen.live["macro_f1"].value
        yield "watch", f"it holds, but macro F1 fell from {before:.3f} to {now:.3f}: rarer classes are missed"
    if _risen(seen, "log_loss") > LOG_LOSS_MARGIN:
        yield "watch", _rose(seen, "log_loss")


def _regression(seen: PerformanceWindow) -> Iterator[Finding]:
    if _risen(seen, "mae", 1 + ERROR_MARGIN) > 0:
        yield "act", f"a significant rise of more than {ERROR_MARGIN:.0%}"
    if "r2" in seen.live and seen.live["r2"].high < 0:
        yield "act", "by R² the mean of the labels is a better prediction"
    if _risen(seen, "mae") > 0:
        yield "watch", "a small but significant rise"
    if _risen(seen, "rmse", 1 + ERROR_MARGIN) > 0:
        yield "watch", _rose(seen, "rmse")


def _lost(seen: PerformanceWindow, figure: Figure) -> float:
    """What surely is lost of a figure that is better the greater it is."""
    if figure not in seen.live or figure not in seen.card:
        return 0.0
    return _surely_above(seen.card[figure], seen.live[figure])


def _risen(seen: PerformanceWindow, figure: Figure, times: float = 1.0) -> float:
    """By how much an error surely is above so many times that of the card."""
    if figure not in seen.live or figure not in seen.card:
        return 0.0
    card = seen.card[figure]
    return _surely_above(seen.live[figure], Estimate(times * card.value, times * card.low, times * card.high))


def _rose(seen: PerformanceWindow, figure: Figure) -> str:
    before, now = seen.card[figure].value, seen.live[figure].value
    values = f"{before:.4g} to {now:.4g}" if figure == "rmse" else f"{before:.3f} to {now:.3f}"
    return f"it holds, but the {TITLES[figure]} rose from {values}"


def _surely_above(upper: Estimate, lower: Estimate) -> float:
    """The lower end of the 95 % interval of `upper` - `lower`."""
    return upper.value - lower.value - math.hypot(upper.value - upper.low, lower.high - lower.value)
