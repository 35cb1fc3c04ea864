from collections.abc import Mapping

from drift.telemetry.gauges import DriftGauges
from leeway.model.card import HeldOut
from leeway.model.performance import Estimate
from leeway.telemetry import names
from leeway.telemetry.names import Metric
from tests.drift.documents import a_result
from tests.leeway.model.bundles import golden_card

CARD = golden_card(
    roc_auc=Estimate(0.84, 0.82, 0.86), brier=Estimate(0.13, 0.12, 0.14), held_out=HeldOut(2113, positive_share=0.26)
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def gauges(clock: Clock) -> DriftGauges:
    return DriftGauges(threshold=0.3, card=CARD, interval_s=60, now_s=clock)


def read(each: DriftGauges, metric: Metric) -> list[tuple[float, Mapping[str, str]]]:
    return list(each.readings()[metric]())


def test_before_the_first_run_nothing_is_claimed() -> None:
    """Without a result there are the settings and the card, and nothing that looks like a measurement."""
    before = gauges(Clock())
    reported = {metric.name for metric, reading in before.readings().items() if list(reading())}
    settings = {"leeway.drift.threshold", "leeway.drift.interval"}
    assert reported == settings | {"leeway.model.roc_auc", "leeway.model.brier", "leeway.model.labels"}


def test_the_last_result_is_reported() -> None:
    """Share, scores, detections and sizes come from the last result, with their attributes."""
    clock = Clock()
    after = gauges(clock)
    after.show(a_result(), clock.now_s)
    assert read(after, names.DRIFT_SHARE) == [(0.5, {names.MODEL_VERSION: "v1"})]
    assert read(after, names.DRIFT_FEATURE_DETECTED) == [
        (1.0, {names.FEATURE_NAME: "watch_hours_30d"}),
        (0.0, {names.FEATURE_NAME: "skips_7d"}),
    ]
    assert read(after, names.DRIFT_WINDOW_SUBJECTS) == [
        (2113.0, {names.DRIFT_WINDOW_ROLE: "reference"}),
        (450.0, {names.DRIFT_WINDOW_ROLE: "current"}),
    ]


def test_what_is_not_computable_is_absent_not_zero() -> None:
    """A score of null, an unknown verdict and a missing label rate have no reading at all."""
    clock = Clock()
    after = gauges(clock)
    after.show(a_result(), clock.now_s)
    assert [attributes[names.FEATURE_NAME] for _, attributes in read(after, names.DRIFT_FEATURE_SCORE)] == [
        "watch_hours_30d"
    ]
    assert {attributes[names.DRIFT_QUESTION]: value for value, attributes in read(after, names.DRIFT_VERDICT)} == {
        "quality": 0.0,
        "covariate": 2.0,
        "prediction": 1.0,
    }
    assert read(after, names.DRIFT_TARGET_DIFFERENCE) == []


def test_a_result_older_than_three_intervals_is_reported_no_more() -> None:
    """Stale readings stop; the two timestamps go on, so that an alert can tell why."""
    clock = Clock()
    after = gauges(clock)
    after.show(a_result(), clock.now_s)
    clock.now_s += 181
    assert read(after, names.DRIFT_SHARE) == []
    assert read(after, names.DRIFT_LAST_SUCCESS) == [(1_000.0, {})]
    assert read(after, names.DRIFT_LAST_CYCLE) == [(1_000.0, {})]


def test_a_blind_cycle_moves_only_the_cycles_timestamp() -> None:
    """UNKNOWN is active at once, and the last success stands still."""
    clock = Clock()
    after = gauges(clock)
    after.show(a_result(), clock.now_s)
    after.unknown()
    after.cycle_finished(1_060.0)
    assert read(after, names.DRIFT_LAST_SUCCESS) == [(1_000.0, {})]
    assert read(after, names.DRIFT_LAST_CYCLE) == [(1_060.0, {})]
    active = {each[names.DRIFT_RECOMMENDATION]: value for value, each in read(after, names.DRIFT_RECOMMENDATION_ACTIVE)}
    assert active == {"NO_ACTION": 0.0, "INVESTIGATE": 0.0, "RETRAIN": 0.0, "UNKNOWN": 1.0}


def test_live_performance_stands_beside_the_cards() -> None:
    """ROC AUC is reported twice, told apart by its basis."""
    clock = Clock()
    after = gauges(clock)
    nothing = dict.fromkeys(("reference", "current", "low", "high"))
    live = {"roc_auc": {"reference": 0.84, "current": 0.51, "low": 0.48, "high": 0.54}, "brier": nothing, "labels": 900}
    after.show(a_result(performance=live), clock.now_s)
    assert read(after, names.MODEL_ROC_AUC) == [
        (0.84, {names.MODEL_BASIS: "card"}),
        (0.51, {names.MODEL_BASIS: "live"}),
    ]
    assert read(after, names.MODEL_BRIER) == [(0.13, {names.MODEL_BASIS: "card"})]
    assert read(after, names.MODEL_LABELS) == [
        (2113.0, {names.MODEL_BASIS: "card"}),
        (900.0, {names.MODEL_BASIS: "live"}),
    ]
