from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from drift.comparison.findings import DriftReport, FeatureDrift, PerformanceWindow, ScoreDrift
from drift.report.page.summary import read_summary
from drift.result import Document, Run, Side, Target, evidently_line, leeway_line, result_document
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Observation, judge
from leeway.model.performance import Estimate

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = Run(
    run_id="0195f3a0-0000-7000-8000-000000000001",
    reference=Side(date(2024, 3, 31), date(2024, 3, 31), 7_043, 7_043),
    current=Side(NOON, NOON, 1_431, 1_204),
    model_name="churn",
    model_version="2024-03-31-0a1b2c3d",
    html="reports/drift_2024-03-31_vs_2024-04-30.html",
    json="reports/drift_2024-03-31_vs_2024-04-30.json",
    trace_id="0" * 31 + "1",
)
REPORT = DriftReport(
    (
        FeatureDrift("fee", "wasserstein", 0.2, 0.1, detected=True, outside_reference=0.002),
        FeatureDrift(
            "gone", "wasserstein", None, 0.1, detected=False, constant=True, missing_reference=1.0, missing_current=1.0
        ),
        *(FeatureDrift(f"f{place}", "jensenshannon", 0.05, 0.1, detected=False) for place in range(5)),
    ),
    ScoreDrift("wasserstein", 0.12, 0.1, detected=True),
    7_043,
    1_204,
    1_204,
)
LABELLED = PerformanceWindow(
    5_120,
    0.3,
    Estimate(0.63, 0.61, 0.65),
    Estimate(0.2, 0.19, 0.21),
    Estimate(0.81, 0.79, 0.83),
    Estimate(0.14, 0.13, 0.15),
)


def document(
    report: DriftReport | None = REPORT,
    performance: PerformanceWindow | None = LABELLED,
    target: Target | None = None,
    run: Run = RUN,
) -> Document:
    """The document of a single comparison."""
    seen = Observation("v1", NOON, NOON, report, "50 subjects are too few; 200 are the least", None, performance)
    policy = Policy().at_once()
    judgement = judge(seen, policy)
    return result_document(run, judgement, policy.threshold, report=report, performance=performance, target=target)


BLIND = document(None, None, run=replace(RUN, html=None, json=None))


def test_the_document_has_the_stable_shape() -> None:
    """Schema 1: these members, and no others."""
    found = document()
    assert list(found) == [
        "schema", "run_id", "reference", "current", "model", "share", "threshold", "decision", "recommendation",
        "reason", "verdicts", "features", "prediction", "target", "performance", "reports", "trace_id",
    ]  # fmt: skip
    assert (found["schema"], found["share"], found["threshold"]) == (1, 0.1429, 0.3)
    assert found["reference"] == {"from": "2024-03-31", "to": "2024-03-31", "rows": 7_043, "subjects": 7_043}
    assert found["model"] == {"name": "churn", "version": "2024-03-31-0a1b2c3d"}
    assert found["features"][0] == {
        "feature": "fee", "method": "wasserstein", "score": 0.2, "threshold": 0.1, "detected": True, "constant": False,
        "missing": {"reference": 0.0, "current": 0.0}, "outside_reference": 0.002, "new_categories": [],
    }  # fmt: skip
    assert found["performance"]["roc_auc"] == {"reference": 0.81, "current": 0.63, "low": 0.61, "high": 0.65}


def test_a_blind_document_has_the_same_shape() -> None:
    """What is not computable is null; no member goes away."""
    assert list(BLIND) == list(document())
    assert list(BLIND["performance"]["roc_auc"]) == list(document()["performance"]["roc_auc"])
    assert (BLIND["share"], BLIND["decision"], BLIND["features"]) == (None, "UNKNOWN", [])
    assert set(BLIND["prediction"].values()) == {None}
    assert BLIND["performance"]["labels"] is None


def test_the_document_is_plain_json() -> None:
    """No NaN, no infinity: they become null."""
    odd = replace(REPORT.features[0], score=math.inf)
    report = replace(REPORT, features=(odd,), prediction=ScoreDrift("wasserstein", math.nan, 0.1, detected=False))
    found = document(report, target=Target(math.nan, 0))
    json.dumps(found, allow_nan=False)
    assert (found["features"][0]["score"], found["prediction"]["score"]) == (None, None)
    assert found["target"] == {"difference": None, "labels": 0}


@pytest.mark.parametrize("given", [document(), BLIND])
def test_the_page_reads_what_is_written(given: Document) -> None:
    """The report page takes a document of ours, through JSON and back."""
    summary = read_summary(json.loads(json.dumps(given)))
    assert summary.recommendation == given["recommendation"]


def test_the_plain_line() -> None:
    """Exactly as the design prints it."""
    assert evidently_line(document(target=Target(0.03124, 5_120))) == (
        "[Evidently] report_html=reports/drift_2024-03-31_vs_2024-04-30.html"
        " report_json=reports/drift_2024-03-31_vs_2024-04-30.json"
        " drift_share=0.14 -> NO_ACTION drift_share=0.14 < 0.30 (target_drift=0.0312)"
    )


def test_the_plain_line_over_the_threshold() -> None:
    """RETRAIN names the share that reached the threshold; no labels, no target drift."""
    drifted = replace(REPORT, features=tuple(replace(each, score=0.2, detected=True) for each in REPORT.features))
    assert evidently_line(document(drifted)).endswith(
        " drift_share=1.00 -> RETRAIN drift_share=1.00 >= 0.30 (target_drift=n/a)"
    )


def test_the_plain_line_of_a_blind_run() -> None:
    """Where nothing could be compared it says so, and why."""
    assert evidently_line(BLIND) == (
        "[Evidently] report_html=n/a report_json=n/a drift_share=n/a"
        " -> UNKNOWN 50 subjects are too few; 200 are the least (target_drift=n/a)"
    )


def test_a_reason_of_several_lines_stays_on_one() -> None:
    """A driver's message may have line breaks; the printed line has none."""
    assert "\n" not in evidently_line({**BLIND, "reason": "no\nconnection"})


def test_our_line() -> None:
    """Exactly as the design prints it."""
    assert leeway_line(document()) == (
        "[Leeway] quality ok, covariate watch, prediction watch, performance act"
        " (ROC AUC 0.81 -> 0.63, 0.61...0.65 on 5,120 labels) -> RETRAIN"
    )


def test_our_line_without_labels() -> None:
    """Without a ROC AUC there are no figures."""
    assert leeway_line(document(performance=None)) == (
        "[Leeway] quality ok, covariate watch, prediction watch, performance unknown -> NO_ACTION"
    )


def test_our_line_without_a_card() -> None:
    """Where the reference has no ROC AUC, n/a stands in its place."""
    line = leeway_line(document(performance=replace(LABELLED, card_roc_auc=None)))
    assert "performance unknown (ROC AUC n/a -> 0.63, 0.61...0.65 on 5,120 labels)" in line
