from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drift.comparison.findings import DriftReport, PerformanceWindow, Rejections, performance_window
from drift.result import MissingShares
from drift.verdicts.performance import judge_performance
from drift.verdicts.verdicts import judge, judge_covariate, judge_prediction
from leeway.model.answers import Answers
from leeway.model.figures import Figure
from leeway.model.performance import Estimate
from leeway.schema import Task
from tests.drift.comparisons import CARD, POLICY, feature, labelled, report, seen
from tests.leeway.model.bundles import golden_card

# --- covariate and prediction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drifted", "state"), [(0, "ok"), (1, "watch"), (2, "watch"), (3, "act")])
def test_covariate_follows_the_share(drifted: int, state: str) -> None:
    """One drifted feature is watched; at the threshold, 3 of 10, the verdict is act."""
    assert judge_covariate(report(drifted=drifted), 0.30).state == state


def test_covariate_is_unknown_without_a_report() -> None:
    """Nothing compared: unknown, with the reason."""
    assert judge_covariate(None, 0.30, "too few").state == "unknown"


@pytest.mark.parametrize(
    ("score", "state"), [(0.05, "ok"), (0.1, "watch"), (0.29, "watch"), (0.31, "act"), (None, "unknown")]
)
def test_prediction_follows_the_scores(score: float | None, state: str) -> None:
    """At its threshold the distance is watched, at three times it is act; unknown without scores."""
    assert judge_prediction(report(score=score)).state == state


def test_prediction_is_unknown_without_a_report() -> None:
    """Nothing compared: unknown, with the reason."""
    assert judge_prediction(None, "too few").evidence == "too few"


# --- performance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "state"),
    [
        (labelled(0.83), "ok"),  # within chance
        (labelled(0.80), "watch"),  # a significant loss below the margin
        (labelled(0.84, squared=0.175), "watch"),  # the ranking holds and the probabilities do not
        (labelled(0.63), "act"),  # a significant loss above the margin
        (labelled(0.84, squared=0.24), "act"),  # a constant prediction is better
    ],
)
def test_performance_follows_the_loss(window: PerformanceWindow, state: str) -> None:
    """A significant loss is watched, above its margin it is act; so is a Brier score above p(1 − p)."""
    assert judge_performance(window, 200).state == state


CLASSES: dict[Figure, Estimate] = {
    "accuracy": Estimate(0.90, 0.88, 0.92),
    "macro_f1": Estimate(0.85, 0.83, 0.87),
    "log_loss": Estimate(0.30, 0.28, 0.32),
}
UNSURE = CLASSES | {"accuracy": Estimate(0.45, 0.35, 0.55)}
NUMBERS: dict[Figure, Estimate] = {
    "mae": Estimate(40, 39, 41),
    "rmse": Estimate(50, 48, 52),
    "r2": Estimate(0.5, 0.45, 0.55),
}


@pytest.mark.parametrize(
    ("task", "card", "changes", "state", "reason"),
    [
        ("multiclass", CLASSES, {}, "ok", "as on the card"),
        ("multiclass", CLASSES, {"accuracy": (0.80, 0.78, 0.82)}, "act", "significant loss of more than 0.02"),
        ("multiclass", CLASSES, {"accuracy": (0.87, 0.86, 0.88)}, "watch", "small but significant loss"),
        ("multiclass", UNSURE, {"accuracy": (0.40, 0.38, 0.42)}, "act", "the most frequent class is better"),
        ("multiclass", CLASSES, {"macro_f1": (0.70, 0.68, 0.72)}, "watch", "rarer classes are missed"),
        ("multiclass", CLASSES, {"log_loss": (0.50, 0.48, 0.52)}, "watch", "the log loss rose from 0.300 to 0.500"),
        ("regression", NUMBERS, {}, "ok", "as on the card"),
        ("regression", NUMBERS, {"mae": (60, 58, 62)}, "act", "significant rise of more than 10%"),
        ("regression", NUMBERS, {"mae": (43, 42, 44)}, "watch", "small but significant rise"),
        ("regression", NUMBERS, {"r2": (-0.5, -0.7, -0.3)}, "act", "the mean of the labels is a better prediction"),
        ("regression", NUMBERS, {"rmse": (80, 75, 85)}, "watch", "the RMSE rose from 50 to 80"),
    ],
)
def test_each_task_has_its_rules(
    task: Task, card: dict[Figure, Estimate], changes: dict[Figure, tuple[float, ...]], state: str, reason: str
) -> None:
    """Accuracy and errors decide; what changes without them is watched. All of it must be beyond chance."""
    live = card | {name: Estimate(*values) for name, values in changes.items()}
    found = judge_performance(PerformanceWindow(2_000, task, live, card, {"accuracy": 0.5, "r2": 0.0}), 200)
    assert (found.state, reason in found.evidence) == (state, True), found.evidence


def test_performance_has_its_figures() -> None:
    """The evidence gives both values, the interval and the number of labels."""
    evidence = judge_performance(labelled(0.63, labels=5_120), 200).evidence
    assert "ROC AUC 0.84 -> 0.63, 0.61...0.65 on 5,120 labels" in evidence


@pytest.mark.parametrize(
    "window",
    [
        None,
        labelled(0.5, labels=199),
        replace(labelled(0.5), live={}),
        replace(labelled(0.5), card={}),
    ],
)
def test_performance_is_unknown_without_enough_labels(window: PerformanceWindow | None) -> None:
    """No labels, too few, one class only, or no card: unknown."""
    assert judge_performance(window, 200).state == "unknown"


def test_chance_is_detected_with_few_labels() -> None:
    """Two hundred labels distinguish a model no better than chance from a good one."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, scores = (rng.random(200) < 0.26).astype(int).tolist(), rng.random(200)
        window = performance_window(labels, CARD.answers(scores), CARD)
        assert judge_performance(window, 200).state == "act"


def test_a_model_as_good_as_its_card_is_ok() -> None:
    """Of 200 windows of 200 labels of an unchanged model at most two are act."""
    rng = np.random.default_rng(1)

    def window(n: int) -> tuple[list[int], Answers]:
        scores = 1 / (1 + np.exp(-(-1.57 + 1.8 * rng.standard_normal(n))))
        return (rng.random(n) < scores).astype(int).tolist(), CARD.answers(scores)

    card = golden_card(figures=performance_window(*window(2_113), CARD).live)
    states = [judge_performance(performance_window(*window(200), card), 200).state for _ in range(200)]
    assert states.count("act") <= 2


# --- decision and recommendation -------------------------------------------------------------------------------------


def test_no_action_without_a_verdict_of_act() -> None:
    """A share below its threshold and no verdict of act: NO_ACTION."""
    judged = judge(seen(report(drifted=1)), POLICY)
    assert (judged.decision, judged.recommendation) == ("NO_ACTION", "NO_ACTION")


def test_unknown_without_a_comparison() -> None:
    """No report: decision and recommendation UNKNOWN, with the reason."""
    judged = judge(seen(None), POLICY)
    assert (judged.decision, judged.recommendation, judged.reason) == ("UNKNOWN", "UNKNOWN", "the window is empty")
    assert {each.state for each in judged.verdicts.values()} == {"unknown"}


def test_unknown_names_known_problems() -> None:
    """If all items are rejected the reason says so."""
    uncompared = replace(seen(None), rejections=Rejections(0, 500))
    judged = judge(uncompared, POLICY)
    assert judged.recommendation == "UNKNOWN"
    assert "quality needs action: 500 of 500 items were rejected" in judged.reason


@pytest.mark.parametrize(
    "found",
    [
        report(feature("fee", outside_reference=1.0)),
        report(feature("fee", 0.31)),
        report(score=0.4),
        report(drifted=3),
    ],
)
def test_investigate(found: DriftReport) -> None:
    """Quality act, a feature or the scores far beyond their threshold, or a share not yet confirmed."""
    assert judge(seen(found), POLICY).recommendation == "INVESTIGATE"


def test_one_drifted_feature_needs_no_action() -> None:
    """Below three times its threshold: NO_ACTION, and covariate is watch."""
    judged = judge(seen(report(feature("fee", 0.29))), POLICY)
    assert judged.recommendation == "NO_ACTION"
    assert judged.verdicts["covariate"].state == "watch"


def test_performance_alone_retrains_at_once() -> None:
    """Concept drift without drifted features: RETRAIN, while the decision on the share is NO_ACTION."""
    judged = judge(seen(report(), performance=labelled(0.5)), POLICY)
    assert (judged.decision, judged.recommendation) == ("NO_ACTION", "RETRAIN")
    assert "0.84 -> 0.50" in judged.reason


def test_a_single_comparison_decides_at_once() -> None:
    """One window above the threshold: RETRAIN, without confirmation."""
    judged = judge(seen(report(drifted=3)), POLICY.at_once())
    assert (judged.decision, judged.recommendation) == ("RETRAIN", "RETRAIN")


def test_retraining_on_invalid_data_has_a_warning() -> None:
    """If quality is act too, the reason says to fix the data first."""
    judged = judge(
        seen(report(feature("fee", None, missing=MissingShares(0.0, 1.0), detected=True), drifted=3)), POLICY.at_once()
    )
    assert judged.recommendation == "RETRAIN"
    assert "Fix the data first: fee is entirely missing" in judged.reason
