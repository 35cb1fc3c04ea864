"""What the gauges report without a run; `test_otel` has what they report of one."""

from __future__ import annotations

from collections.abc import Mapping

from drift.result import RunResult
from drift.telemetry.gauges import DriftGauges
from leeway.model.card import HeldOut
from leeway.model.performance import Estimate
from leeway.telemetry import names
from leeway.telemetry.names import Metric
from tests.drift.documents import a_run, feature, verdict
from tests.leeway.model.bundles import golden_card

CARD = golden_card(
    figures={"roc_auc": Estimate(0.84, 0.82, 0.86), "brier": Estimate(0.13, 0.12, 0.14)},
    held_out=HeldOut(2113, {"0": 0.74, "1": 0.26}),
)


def readings(result: RunResult | None = None) -> dict[Metric, list[tuple[float, Mapping[str, str]]]]:
    """All readings, after this result if there is one."""
    gauges = DriftGauges(threshold=0.3, card=CARD, interval_s=60, now_s=lambda: 1_000.0)
    if result is not None:
        gauges.show(result, 1_000.0)
    return {metric: list(reading()) for metric, reading in gauges.readings().items()}


def test_before_the_first_run_there_are_no_results() -> None:
    """Only the settings and the card are reported."""
    reported = {metric for metric, read in readings().items() if read}
    card = {names.MODEL_PERFORMANCE, names.MODEL_LABELS}
    assert reported == {names.DRIFT_THRESHOLD, names.DRIFT_INTERVAL} | card


def test_an_unknown_value_is_absent() -> None:
    """A score of None, an unknown verdict and a missing label rate have no reading."""
    found = readings(a_run(features=[feature("skips_7d", 0.4), feature("monthly_fee", None)]))
    assert [attributes[names.FEATURE_NAME] for _, attributes in found[names.DRIFT_FEATURE_SCORE]] == ["skips_7d"]
    questions = [attributes[names.DRIFT_QUESTION] for _, attributes in found[names.DRIFT_VERDICT]]
    assert questions == ["quality", "covariate", "prediction"]
    assert found[names.DRIFT_TARGET_DIFFERENCE] == []
    assert {attributes[names.MODEL_BASIS] for _, attributes in found[names.MODEL_PERFORMANCE]} == {"card"}


def test_the_worst_segments_have_gauges() -> None:
    """Twenty of them, in the order of the result; one that was not compared has none."""
    shares = [0.5, None, *[0.5] * 28]
    segments = [
        {"value": f"s{place}", "subjects": 300, "share": share, "verdict": verdict("ok", "")}
        for place, share in enumerate(shares)
    ]
    found = readings(a_run(segments={"by": "shop", "segments": segments}))[names.DRIFT_SEGMENT_SHARE]
    assert [attributes[names.DRIFT_SEGMENT] for _, attributes in found] == ["s0", *(f"s{n}" for n in range(2, 20))]
