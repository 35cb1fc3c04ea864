from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drift.confirmation import Policy, State
from drift.findings import (
    DriftReport,
    FeatureDrift,
    PerformanceWindow,
    Refusal,
    Rejections,
    ScoreDrift,
    performance_window,
)
from drift.quality import judge_quality, surely
from drift.verdicts import Judgement, Observation, judge, judge_covariate, judge_performance, judge_prediction
from leeway.performance import Estimate

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW_S, INTERVAL_S = 900, 60
POLICY = Policy()
CARD = {"roc_auc": {"value": 0.84, "low": 0.82, "high": 0.86}, "brier": {"value": 0.14, "low": 0.13, "high": 0.15}}


def feature(name: str = "f0", score: float | None = 0.05, **changes: object) -> FeatureDrift:
    """A feature that did not drift, unless the score says so."""
    made = FeatureDrift(name, "wasserstein", score, 0.1, detected=score is not None and score >= 0.1)
    return replace(made, **changes)  # type: ignore[arg-type]  # a test names the fields it means


def report(*features: FeatureDrift, drifted: int = 0, score: float | None = 0.02, rows: int = 1_000) -> DriftReport:
    """Ten features, the ones given first, of which `drifted` more drifted; the model's scores at distance `score`."""
    rest = [feature(f"f{place}", 0.2 if place < drifted else 0.05) for place in range(10 - len(features))]
    prediction = None if score is None else ScoreDrift("wasserstein", score, 0.1, score >= 0.1)
    return DriftReport((*features, *rest), prediction, 2_000, rows, rows)


def labelled(auc: float, margin: float = 0.02, labels: int = 2_000, squared: float = 0.14) -> PerformanceWindow:
    """So many labels, 26 % of them positive, on which the model did so well."""
    area, error = Estimate(auc, auc - margin, auc + margin), Estimate(squared, squared - 0.008, squared + 0.008)
    return PerformanceWindow(labels, 0.26, area, error, Estimate(**CARD["roc_auc"]), Estimate(**CARD["brier"]))


def seen(
    found: DriftReport | None, minute: float = 0, performance: PerformanceWindow | None = None, version: str = "v1"
) -> Observation:
    """What a run saw whose window ended so many minutes after noon."""
    end = NOON + timedelta(minutes=minute)
    start = end - timedelta(seconds=WINDOW_S)
    return Observation(version, start, end, found, "the window is empty", None, performance)


# --- quality ---------------------------------------------------------------------------------------------------------


def test_quality_is_ok_where_nothing_changed() -> None:
    """Nothing missing, new, outside or refused: ok."""
    assert judge_quality(report(feature(outside_reference=0.012)), Rejections(999, 1)).state == "ok"


def test_quality_is_unknown_without_anything_to_see() -> None:
    """No report and no refusal: unknown, with the reason."""
    verdict = judge_quality(None, None, "the database is down")
    assert (verdict.state, verdict.evidence) == ("unknown", "the database is down")


@pytest.mark.parametrize(("refused", "state"), [(0, "ok"), (9, "ok"), (10, "watch"), (99, "watch"), (100, "act")])
def test_quality_counts_what_was_refused(refused: int, state: str) -> None:
    """From 1 % of the items on it is worth a look, from a tenth on it acts."""
    assert judge_quality(report(), Rejections(1_000 - refused, refused)).state == state


def test_quality_says_what_was_refused_most() -> None:
    """The evidence names the feature and the reason behind most refusals."""
    refusals = (Refusal("skips_7d", "out_of_range", 30), Refusal("monthly_fee", "wrong_type", 170))
    evidence = judge_quality(report(), Rejections(800, 200, refusals)).evidence
    assert "200 of 1,000 items" in evidence
    assert "monthly_fee (wrong_type)" in evidence


def test_a_refused_handful_is_only_watched() -> None:
    """One refused item of five is a fifth, and no reason to wake anybody."""
    assert judge_quality(report(), Rejections(4, 1)).state == "watch"


def test_quality_sees_refusals_without_a_window() -> None:
    """Where everything is refused nothing can be compared, and quality acts all the same."""
    assert judge_quality(None, Rejections(0, 500), "0 subjects").state == "act"


def test_quality_acts_on_a_feature_gone_missing() -> None:
    """Entirely missing now, and not before: act, by name."""
    verdict = judge_quality(report(feature("fee", None, missing_current=1.0, detected=True)), None)
    assert verdict.state == "act"
    assert "fee is entirely missing" in verdict.evidence


def test_a_feature_that_was_never_there_is_not_missed() -> None:
    """Entirely missing before and now: ok."""
    verdict = judge_quality(report(feature("fee", None, missing_reference=1.0, missing_current=1.0)), None)
    assert verdict.state == "ok"


@pytest.mark.parametrize(
    ("before", "now", "rows", "state"),
    [
        (0.2, 0.23, 1_000, "ok"),
        (0.2, 0.26, 1_000, "ok"),  # four standard errors are 0.06
        (0.2, 0.28, 1_000, "watch"),
        (0.2, 0.31, 1_000, "act"),
        (0.31, 0.2, 1_000, "act"),
        (0.2, 0.27, 200, "ok"),
        (0.2, 0.31, 200, "watch"),  # four standard errors are 0.12
        (0.2, 0.35, 200, "act"),
    ],
)
def test_quality_sees_a_missing_share_that_moved(before: float, now: float, rows: int, state: str) -> None:
    """More than 0.1 acts, more than 0.05 is watched, in either direction; what chance may do never acts."""
    moved = feature(missing_reference=before, missing_current=now)
    assert judge_quality(report(moved, rows=rows), None).state == state


@pytest.mark.parametrize(
    ("share", "rows", "state"), [(0.002, 1_000, "watch"), (0.04, 1_000, "act"), (0.01, 200, "watch")]
)
def test_quality_sees_new_categories(share: float, rows: int, state: str) -> None:
    """A few single new values are watched; surely more than 1 % act."""
    new = feature("net_service", outside_reference=share, new_categories=("Satellite",))
    verdict = judge_quality(report(new, rows=rows), None)
    assert verdict.state == state
    assert "Satellite" in verdict.evidence


@pytest.mark.parametrize(("share", "state"), [(0.001, "watch"), (0.5, "act")])
def test_quality_sees_a_constant_that_began_to_vary(share: float, state: str) -> None:
    """One odd value is watched, more act: what never varied meant nothing to the model."""
    verdict = judge_quality(report(feature("still", began_to_vary=True, outside_reference=share)), None)
    assert verdict.state == state
    assert "still was constant and now varies" in verdict.evidence


@pytest.mark.parametrize(
    ("share", "rows", "state"),
    [(0.02, 1_000, "ok"), (0.06, 200, "ok"), (0.06, 1_000, "watch"), (0.2, 1_000, "act"), (1.0, 200, "act")],
)
def test_quality_sees_values_outside_the_reference(share: float, rows: int, state: str) -> None:
    """1 % lie outside by definition; surely more than 3 % are watched, surely more than 10 % act."""
    assert judge_quality(report(feature(outside_reference=share), rows=rows), None).state == state


def test_quality_tells_the_worst_first_and_stays_short() -> None:
    """Of many findings three are told, those that act first, and the rest counted."""
    many = [feature(f"f{place}", outside_reference=0.06) for place in range(4)]
    evidence = judge_quality(report(*many, feature("fee", outside_reference=1.0)), None).evidence
    assert evidence.startswith("100.0% of fee")
    assert evidence.endswith("and 2 more.")


@pytest.mark.parametrize(("share", "rows"), [(0.0, 200), (0.01, 200), (0.5, 50), (1.0, 1)])
def test_what_is_sure_is_less_than_what_is_seen(share: float, rows: int) -> None:
    """The lower end of a share's interval lies between 0 and the share."""
    assert 0 <= surely(share, rows) <= share


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

    reference = performance_window(*window(2_113), {})
    assert reference.roc_auc is not None
    assert reference.brier is not None
    card = {"roc_auc": reference.roc_auc.__dict__, "brier": reference.brier.__dict__}
    states = [judge_performance(performance_window(*window(200), card), 200).state for _ in range(200)]
    assert states.count("act") <= 2


def test_no_labels_at_all_make_an_empty_window() -> None:
    """Nothing labelled yet: no figures, and the card's beside them."""
    window = performance_window([], [], CARD)
    assert (window.labels, window.roc_auc, window.brier) == (0, None, None)
    assert window.card_roc_auc == Estimate(0.84, 0.82, 0.86)


def test_labels_of_one_class_have_a_brier_score_only() -> None:
    """Without both classes there is no ROC AUC."""
    window = performance_window([0, 0, 0], [0.1, 0.2, 0.3], CARD)
    assert window.roc_auc is None
    assert window.brier is not None


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
    assert "quality acts: 500 of 500 items were refused" in judged.reason


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
    judged = judge(seen(report(feature("fee", None, missing_current=1.0, detected=True), drifted=3)), POLICY.at_once())
    assert judged.recommendation == "RETRAIN"
    assert "Mend the data first: fee is entirely missing" in judged.reason


# --- confirmation and cooldown ---------------------------------------------------------------------------------------


def worked(
    states: Sequence[DriftReport | None], policy: Policy = POLICY, state: State | None = None
) -> list[Judgement]:
    """What a worker judges of windows of 15 minutes, one a minute."""
    judged: list[Judgement] = []
    for minute, found in enumerate(states):
        judged.append(judge(seen(found, minute), policy, judged[-1].state if judged else state))
    return judged


def retrained(judged: list[Judgement]) -> list[int]:
    """The minutes at which RETRAIN was recommended."""
    return [minute for minute, each in enumerate(judged) if each.recommendation == "RETRAIN"]


OVER, UNDER = report(drifted=3), report()


def test_confirmation_takes_windows_that_do_not_overlap() -> None:
    """At an interval of 60 s and a window of 900 s three confirmations take half an hour, not two minutes."""
    judged = worked([OVER] * 40)
    assert retrained(judged) == list(range(30, 40))
    assert [len(judged[minute].state.counted) for minute in (0, 14, 15, 29, 30)] == [1, 1, 2, 2, 3]


def test_a_window_under_the_threshold_breaks_the_row() -> None:
    """After a calm window the count begins anew."""
    judged = worked([OVER] * 29 + [UNDER] + [OVER] * 31)
    assert retrained(judged) == [60]


def test_a_window_that_cannot_be_seen_neither_counts_nor_breaks() -> None:
    """UNKNOWN in between: the row goes on where it stood."""
    judged = worked([OVER] * 20 + [None] * 5 + [OVER] * 10)
    assert retrained(judged) == list(range(30, 35))
    assert {each.recommendation for each in judged[20:25]} == {"UNKNOWN"}


def test_a_retrain_stands_while_its_reason_does() -> None:
    """It is not taken back by its own cooldown, nor by a cycle that sees nothing."""
    judged = worked([OVER] * 100 + [None] + [OVER] * 20)
    assert retrained(judged) == [*range(30, 100), *range(101, 121)]


def test_a_new_retrain_waits_for_the_cooldown() -> None:
    """Ended and confirmed again within the hour: INVESTIGATE until the hour since the last RETRAIN began is over."""
    judged = worked([OVER] * 31 + [UNDER] + [OVER] * 80)
    assert retrained(judged) == [30, *range(90, 112)]
    assert "no new one before 2026-03-01T13:30:00+00:00" in judged[70].reason


def test_a_new_model_version_starts_a_new_count() -> None:
    """What another version breached does not count, and what was just trained is not told to train within the hour."""
    old = worked([OVER] * 31)[-1]
    new = judge(seen(OVER, 46, version="v2"), POLICY, old.state)
    assert new.recommendation == "INVESTIGATE"
    assert len(new.state.counted) == 1
    assert new.state.retrain_at == NOON + timedelta(minutes=30)


def test_a_clock_stepping_back_counts_nothing_twice() -> None:
    """After a step of ten minutes the same half hour is needed, no less, and no window is lost for good."""
    before = worked([OVER] * 16)[-1].state
    assert len(before.counted) == 2
    after = [judge(seen(OVER, 5), POLICY, before)]
    for minute in range(6, 40):
        after.append(judge(seen(OVER, minute), POLICY, after[-1].state))
    first = next(place for place, each in enumerate(after) if each.recommendation == "RETRAIN")
    assert first == 15


def test_a_clock_that_was_years_ahead_holds_nothing_up() -> None:
    """Counts and cooldowns from the future are taken for now."""
    future = NOON + timedelta(days=2_000)
    state = State("v1", (future,), future, standing=False)
    judged = worked([OVER] * 80, state=state)
    assert retrained(judged) == list(range(60, 80))


def test_a_state_survives_json() -> None:
    """What the database keeps of it is all of it."""
    state = worked([OVER] * 31)[-1].state
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert State.from_json(State("v1").to_json()) == State("v1")


@pytest.mark.parametrize(
    "document", [{}, {"model_version": "v1", "counted": ["2026-03-01"], "retrain_at": None, "standing": False}]
)
def test_another_state_is_refused(document: dict[str, object]) -> None:
    """A state of another shape, or with naive times, is a ValueError."""
    with pytest.raises(ValueError, match=r"state of a drift worker|time zone"):
        State.from_json(document)
