from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from drift.report.page import render_index, render_run
from drift.result import (
    Measure,
    Performance,
    Reports,
    ResultError,
    RunResult,
    TargetDifference,
    Verdict,
    evidently_line,
    leeway_line,
    read_result,
)
from tests.drift.documents import result, unknown

COMPARED = RunResult(
    schema=1,
    run_id="0195f3a0-0000-7000-8000-000000000001",
    share=0.1429,
    threshold=0.3,
    decision="NO_ACTION",
    recommendation="RETRAIN",
    reason="It fell.",
    verdicts={
        "quality": Verdict("ok", ""),
        "covariate": Verdict("watch", ""),
        "prediction": Verdict("watch", ""),
        "performance": Verdict("act", ""),
    },
    target=TargetDifference(0.03124, 5_120),
    performance=Performance(
        {"roc_auc": Measure(0.81, 0.63, 0.61, 0.65), "brier": Measure(0.14, 0.2, 0.19, 0.21)}, 5_120
    ),
    reports=Reports("reports/drift_2024-03-31_vs_2024-04-30.html", "reports/drift_2024-03-31_vs_2024-04-30.json"),
)
UNKNOWN = replace(
    COMPARED,
    share=None,
    decision="UNKNOWN",
    recommendation="UNKNOWN",
    reason="50 subjects are too few; at least 200 are needed",
    target=TargetDifference(),
    performance=Performance(),
    reports=Reports(),
)

# --- reading and writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [COMPARED, UNKNOWN])
def test_a_result_survives_both_forms(given: RunResult) -> None:
    """The file and the JSON column hold the same result."""
    assert read_result(given.to_file()) == read_result(json.loads(json.dumps(msgspec.to_builtins(given)))) == given


@pytest.mark.parametrize("document", [result(), unknown(1), result(current={"from": None, "to": None})])
def test_every_result_can_be_shown(document: dict[str, Any]) -> None:
    """Results with None anywhere can be rendered on both pages."""
    run = read_result(document)
    assert run.run_id in render_index([run], ()) + render_run(run, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"run_id": "../../etc/passwd"},
        {"recommendation": "PANIC"},
        {"share": float("nan")},
        {"features": 7},
        {"current": {"to": "0001-01-01T00:00:00+05:00"}},
        {"verdicts": {"quality": {"state": "fine", "evidence": ""}}},
        {"verdicts": {"quality": {"state": "ok", "evidence": ""}}},
        {"features": [{"feature": "fee"}]},
        {"performance": None},
    ],
)
def test_other_documents_are_rejected(changes: dict[str, Any]) -> None:
    """What is not of schema 1 is rejected, with the place in the message."""
    with pytest.raises(ResultError, match=next(iter(changes))):
        read_result(result() | changes)


def test_a_run_without_times_has_the_time_of_its_id() -> None:
    """A UUIDv7 contains the time at which it was made."""
    run = read_result(result(run_id="01a20725-becc-73b9-bf77-f99f508bba04", current={}))
    assert run.time == datetime.fromtimestamp(0x01A20725BECC / 1_000, UTC)


def test_the_documented_example_can_be_shown() -> None:
    """The example of docs/results.md is a result of schema 1 with every documented member."""
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])  # type: ignore[index]  # or it fails here
    assert example.keys() == result().keys()
    assert example["features"][0].keys() == result()["features"][0].keys()
    assert example["run_id"] in render_run(read_result(example), ())


# --- the two lines ---------------------------------------------------------------------------------------------------


def test_the_plain_line() -> None:
    """The line is exactly that of the design."""
    assert evidently_line(COMPARED) == (
        "[Evidently] report_html=reports/drift_2024-03-31_vs_2024-04-30.html"
        " report_json=reports/drift_2024-03-31_vs_2024-04-30.json"
        " drift_share=0.14 -> NO_ACTION drift_share=0.14 < 0.30 (target_drift=0.0312)"
    )


def test_the_plain_line_over_the_threshold() -> None:
    """RETRAIN with the share that reached the threshold; without labels there is no target drift."""
    assert evidently_line(replace(COMPARED, share=1.0, decision="RETRAIN", target=TargetDifference())).endswith(
        " drift_share=1.00 -> RETRAIN drift_share=1.00 >= 0.30 (target_drift=n/a)"
    )


def test_the_plain_line_of_an_unknown_run() -> None:
    """The line gives the reason."""
    assert evidently_line(UNKNOWN) == (
        "[Evidently] report_html=n/a report_json=n/a drift_share=n/a"
        " -> UNKNOWN 50 subjects are too few; at least 200 are needed (target_drift=n/a)"
    )


def test_a_reason_of_several_lines_stays_on_one() -> None:
    """A driver's message may have line breaks; the printed line has none."""
    assert "\n" not in evidently_line(replace(UNKNOWN, reason="no\nconnection"))


def test_our_line() -> None:
    """The line is exactly that of the design."""
    assert leeway_line(COMPARED) == (
        "[Leeway] quality ok, covariate watch, prediction watch, performance act"
        " (ROC AUC 0.81 -> 0.63, 0.61...0.65 on 5,120 labels) -> RETRAIN"
    )


def test_our_line_without_labels() -> None:
    """Without a ROC AUC there are no figures."""
    assert leeway_line(replace(COMPARED, performance=Performance())) == (
        "[Leeway] quality ok, covariate watch, prediction watch, performance act -> RETRAIN"
    )


def test_our_line_without_a_card() -> None:
    """Without a ROC AUC on the card the line has n/a."""
    performance = Performance({"roc_auc": Measure(None, 0.63, 0.61, 0.65)}, 5_120)
    assert "(ROC AUC n/a -> 0.63, 0.61...0.65 on 5,120 labels)" in leeway_line(
        replace(COMPARED, performance=performance)
    )
