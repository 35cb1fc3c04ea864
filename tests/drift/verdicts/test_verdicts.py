from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drift.comparison.findings import DriftReport, PerformanceWindow, Rejections, performance_window
from drift.result import MissingShares
from drift.verdicts.verdicts import judge, judge_covariate, judge_performance, judge_prediction
from tests.drift.comparisons import CARD, POLICY, feature, labelled, report, seen
from tests.leeway.model.bundles import golden_card

# --- covariate and prediction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drifted", "state"), [(0, "ok"), (1, "watch"), (2, "watch"), (3, "act")])
def test_covariate_follows_the_share(drifted: int, state: str) -> None:
    """One drifted feature is watched; at the threshold, 3 of 10, it acts."""
    assert judge_covariate(report(drifted=drifted), 0.30).state == state


def test_covariate_is_unknown_without_a_report() -> None:
    """Nothing compared: unknown, with the reason."""
    assert judge_covariate(None, 0.30, "too few").state == "unknown"


def test_covariate_says_when_it_saw_a_sample() -> None:
    """A sample of the window is told from the whole."""
    sampled = replace(report(drifted=1), current_subjects=300_000)
    assert "1,000 of 300,000 subjects" in judge_covariate(sampled, 0.30).evidence


@pytest.mark.parametrize(
    ("score", "state"), [(0.05, "ok"), (0.1, "watch"), (0.29, "watch"), (0.31, "act"), (None, "unknown")]
)
def test_prediction_follows_the_scores(score: float | None, state: str) -> None:
    """At its threshold the scores' distance is watched, at three times it acts; unknown without scores."""
    assert judge_prediction(report(score=score)).state == state


def test_prediction_is_unknown_without_a_report() -> None:
    """Nothing compared: unknown, with the reason."""
    assert judge_prediction(None, "too few").evidence == "too few"


# --- performance -----------------------------------------------------------------------------------------------------


def test_performance_is_ok_as_on_the_card() -> None:
    """Within what chance explains: ok."""
    assert judge_performance(labelled(0.83), 200).state == "ok"


def test_performance_watches_a_small_certain_loss() -> None:
    """It fell for certain, and by less than the margin: watch."""
    assert judge_performance(labelled(0.80), 200).state == "watch"


def test_performance_acts_on_a_certain_loss() -> None:
    """The loss is over its margin beyond doubt: act, with figures."""
    verdict = judge_performance(labelled(0.63, labels=5_120), 200)
    assert verdict.state == "act"
    assert "ROC AUC 0.84 -> 0.63, 0.61...0.65 on 5,120 labels" in verdict.evidence


def test_performance_watches_a_worse_brier_score() -> None:
    """The order holds and the probabilities do not: watch."""
    assert judge_performance(labelled(0.84, squared=0.175), 200).state == "watch"


def test_performance_acts_where_a_constant_does_better() -> None:
    """A Brier score above p(1 − p) for certain: act, although the order holds."""
    assert judge_performance(labelled(0.84, squared=0.24), 200).state == "act"


@pytest.mark.parametrize(
    "window",
    [
        None,
        labelled(0.5, labels=199),
        replace(labelled(0.5), roc_auc=None),
        replace(labelled(0.5), card_roc_auc=None),
    ],
)
def test_performance_is_unknown_without_enough_to_go_by(window: PerformanceWindow | None) -> None:
    """No labels, too few, one class only, or no card: unknown."""
    assert judge_performance(window, 200).state == "unknown"


def test_a_coin_acts_from_the_fewest_labels_on() -> None:
    """Two hundred labels are enough to tell a coin from a good model, whichever labels they are."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        window = performance_window((rng.random(200) < 0.26).astype(int), rng.random(200), CARD)
        assert judge_performance(window, 200).state == "act"


def test_a_model_as_good_as_its_card_calls_nobody() -> None:
    """Of 200 windows of 200 labels of a model that is as it was, at most two act."""
    rng = np.random.default_rng(1)

    def window(n: int) -> tuple[list[int], list[float]]:
        scores = 1 / (1 + np.exp(-(-1.57 + 1.8 * rng.standard_normal(n))))
        return (rng.random(n) < scores).astype(int).tolist(), scores.tolist()

    reference = performance_window(*window(2_113), CARD)
    assert reference.roc_auc is not None
    assert reference.brier is not None
    card = golden_card(roc_auc=reference.roc_auc, brier=reference.brier)
    states = [judge_performance(performance_window(*window(200), card), 200).state for _ in range(200)]
    assert states.count("act") <= 2


# --- decision and recommendation -------------------------------------------------------------------------------------


def test_no_action_where_nothing_acts() -> None:
    """Share under its threshold, no verdict acts: NO_ACTION."""
    judged = judge(seen(report(drifted=1)), POLICY)
    assert (judged.decision, judged.recommendation) == ("NO_ACTION", "NO_ACTION")


def test_unknown_where_nothing_was_compared() -> None:
    """No report: decision and recommendation UNKNOWN, with the reason."""
    judged = judge(seen(None), POLICY)
    assert (judged.decision, judged.recommendation, judged.reason) == ("UNKNOWN", "UNKNOWN", "the window is empty")
    assert {each.state for each in judged.verdicts.values()} == {"unknown"}


def test_unknown_does_not_keep_back_what_is_wrong() -> None:
    """Where all requests are refused the reason says so."""
    blind = replace(seen(None), rejections=Rejections(0, 500))
    judged = judge(blind, POLICY)
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
    """Quality acts, a feature or the scores far beyond their threshold, or a share over and not confirmed."""
    assert judge(seen(found), POLICY).recommendation == "INVESTIGATE"


def test_one_feature_over_its_threshold_is_no_reason_to_act() -> None:
    """Less than three times its threshold: NO_ACTION, and covariate watches."""
    judged = judge(seen(report(feature("fee", 0.29))), POLICY)
    assert judged.recommendation == "NO_ACTION"
    assert judged.verdicts["covariate"].state == "watch"


def test_performance_alone_retrains_at_once() -> None:
    """Labels turned against the model while no feature moved: RETRAIN, and the decision on the share says NO_ACTION."""
    judged = judge(seen(report(), performance=labelled(0.5)), POLICY)
    assert (judged.decision, judged.recommendation) == ("NO_ACTION", "RETRAIN")
    assert "0.84 -> 0.50" in judged.reason


def test_a_single_comparison_decides_at_once() -> None:
    """One window over the threshold: RETRAIN, without confirmation."""
    judged = judge(seen(report(drifted=3)), POLICY.at_once())
    assert (judged.decision, judged.recommendation) == ("RETRAIN", "RETRAIN")


def test_retraining_on_broken_data_is_warned_of() -> None:
    """Where quality acts too, the reason says to mend the data first."""
    judged = judge(
        seen(report(feature("fee", None, missing=MissingShares(0.0, 1.0), detected=True), drifted=3)), POLICY.at_once()
    )
    assert judged.recommendation == "RETRAIN"
    assert "Fix the data first: fee is entirely missing" in judged.reason
