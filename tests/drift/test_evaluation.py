from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, NoReturn

import msgspec
import numpy as np
import pandas as pd
import pytest

from drift.evaluation import Evaluation, evaluate
from drift.result import Reports, TargetDifference, Window
from drift.verdicts.confirmation import Policy
from leeway.model.drift_plan import DriftPlan
from leeway.schema import SCORE_COLUMN
from tests.drift.comparisons import PLAN, REFERENCE, ROWS, SCHEMA, frame, inputs_of, labelled, prepared
from tests.drift.worlds import PlainPage

REPORTS = Reports("report.html", "report.json")


def drifted() -> pd.DataFrame:
    """A window in which two features of six drifted."""
    return frame(seed=3, amount=[None] * ROWS, count=[7] * ROWS)


def evaluated(current: pd.DataFrame, policy: Policy | None = None, **changes: Any) -> Evaluation:  # noqa: ANN401 (fields of the inputs)
    """The evaluation of a frame against the reference."""
    inputs = inputs_of(
        prepared(REFERENCE),
        current,
        reference_window=Window("2026-01-31", "2026-01-31", 2_000, 2_000),
        current_window=Window("2026-03-01T12:00:00+00:00", "2026-03-01T12:15:00+00:00", 1_200, 1_000),
        **changes,
    )
    return evaluate(inputs, policy or Policy(), min_subjects=200, reports=REPORTS, make_page=PlainPage)


def test_the_result_holds_what_was_found() -> None:
    """Windows, share, features, performance and reports are those of the inputs and the comparison."""
    result = evaluated(drifted(), performance=labelled(0.63), target=TargetDifference(0.03, 2_000)).result
    assert (result.share, result.drifted, result.reports, result.target.labels) == (0.3333, 2, REPORTS, 2_000)
    assert (result.reference.rows, result.current.subjects) == (2_000, 1_000)
    assert [each.feature for each in result.features] == list(SCHEMA.names)
    assert (result.features[0].score, result.features[0].missing.current) == (None, 1.0)
    auc = result.performance.figures["roc_auc"]
    assert (auc.reference, auc.current, auc.low, auc.high) == (0.84, 0.63, 0.61, 0.65)


def test_too_few_rows_have_a_result_of_the_same_shape() -> None:
    """What cannot be computed is None, nothing was compared or drawn, and the reason says why."""
    evaluation = evaluated(frame(rows=50))
    result = evaluation.result
    assert (evaluation.report, evaluation.page, result.share, result.features) == (None, None, None, ())
    assert (result.decision, result.reports) == ("UNKNOWN", Reports())
    assert result.reason.startswith("50 subjects are too few")
    assert msgspec.to_builtins(result).keys() == msgspec.to_builtins(evaluated(frame()).result).keys()


def test_an_overflowing_distance_is_none() -> None:
    """JSON has neither NaN nor infinity: both become null."""
    plan = DriftPlan(PLAN.features, PLAN.features["amount"])
    scores = {SCORE_COLUMN: np.linspace(0, 1, ROWS)}
    reference = prepared(REFERENCE.assign(**{SCORE_COLUMN: 0.5}), plan=plan)
    inputs = inputs_of(reference, frame().assign(**scores))
    odd = {
        name: replace(column, distance={"amount": math.inf, SCORE_COLUMN: math.nan}.get(name, column.distance))
        for name, column in inputs.current.columns.items()
    }
    result = evaluate(replace(inputs, current=replace(inputs.current, columns=odd)), Policy(), min_subjects=1).result
    json.dumps(msgspec.to_builtins(result), allow_nan=False)
    assert (result.features[0].score, result.prediction.score) == (None, None)


def test_the_state_of_one_run_confirms_the_next() -> None:
    """The first window over the threshold counts, and the state that is returned says so."""
    assert len(evaluated(drifted()).state.counted) == 1
    assert evaluated(drifted(), Policy().at_once()).result.recommendation == "RETRAIN"


def test_other_errors_pass_through() -> None:
    """An error of the page is not turned into a result."""

    def broken(*_arguments: object) -> NoReturn:
        raise ZeroDivisionError("in the middle of it")

    with pytest.raises(ZeroDivisionError):
        evaluate(inputs_of(prepared(REFERENCE), frame()), Policy(), min_subjects=1, make_page=broken)
