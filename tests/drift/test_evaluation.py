from __future__ import annotations

import doctest
import json
import math
from typing import Any, NoReturn

import msgspec
import pandas as pd
import pytest
from msgspec.structs import replace as with_fields

from drift import evaluation as module
from drift.comparison.findings import DriftReport, TooFewRows
from drift.evaluation import Evaluation, evaluate
from drift.inputs import ComparisonInputs
from drift.result import MissingShares, Reports, ScoreDrift, Target, Window
from drift.verdicts.confirmation import Policy
from tests.drift.comparisons import PLAN, SCHEMA, feature, labelled, report

REPORTS = Reports("report.html", "report.json")


class _Compared:
    """A comparison with this report."""

    def __init__(self, found: DriftReport) -> None:
        self.report = found


def evaluated(found: DriftReport | None, policy: Policy | None = None, **changes: Any) -> Evaluation:  # noqa: ANN401 (fields of the inputs)
    """The evaluation of inputs whose comparison finds this; None for too few rows."""
    inputs = ComparisonInputs(
        reference=pd.DataFrame(),
        current=pd.DataFrame(),
        reference_window=Window("2026-01-31", "2026-01-31", 2_000, 2_000),
        current_window=Window("2026-03-01T12:00:00+00:00", "2026-03-01T12:15:00+00:00", 1_200, 1_000),
        schema=SCHEMA,
        plan=PLAN,
        **changes,
    )

    def compare(*_frames: object, min_subjects: int, current_subjects: int) -> Any:  # noqa: ANN401 (a stand-in)
        assert (min_subjects, current_subjects) == (200, 1_000)
        if found is None:
            raise TooFewRows("50 subjects are too few")
        return _Compared(found)

    return evaluate(inputs, policy or Policy(), min_subjects=200, reports=REPORTS, compare=compare)


def test_the_result_holds_what_was_found() -> None:
    """Windows, share, features, scores, performance and reports are those of the inputs and the comparison."""
    gone = feature("gone", None, detected=True, missing=MissingShares(0.1, 1.0))
    result = evaluated(report(gone, drifted=2), performance=labelled(0.63), target=Target(0.03, 2_000)).result
    assert (result.share, result.drifted, result.reports, result.target.labels) == (0.3, 3, REPORTS, 2_000)
    assert (result.reference.rows, result.current.subjects) == (2_000, 1_000)
    assert result.features[0] == gone
    assert result.prediction == ScoreDrift("wasserstein", 0.02, 0.1, detected=False)
    auc = result.performance.roc_auc
    assert (auc.reference, auc.current, auc.low, auc.high) == (0.84, 0.63, 0.61, 0.65)


def test_too_few_rows_have_a_result_of_the_same_shape() -> None:
    """What cannot be computed is None, nothing was compared, and the reason says why."""
    evaluation = evaluated(None)
    result = evaluation.result
    assert (evaluation.comparison, result.share, result.features, result.reports) == (None, None, (), Reports())
    assert (result.decision, result.reason) == ("UNKNOWN", "50 subjects are too few")
    assert msgspec.to_builtins(result).keys() == msgspec.to_builtins(evaluated(report()).result).keys()


def test_an_overflowing_distance_is_none() -> None:
    """JSON has neither NaN nor infinity: both become null."""
    odd = with_fields(feature("fee"), score=math.inf)
    scores = ScoreDrift("wasserstein", math.nan, 0.1, detected=False)
    found = DriftReport((odd,), scores, 2_000, 1_000, 1_000)
    result = evaluated(found).result
    json.dumps(msgspec.to_builtins(result), allow_nan=False)
    assert (result.features[0].score, result.prediction.score) == (None, None)


def test_the_state_of_one_run_confirms_the_next() -> None:
    """The first window over the threshold counts, and the state that is returned says so."""
    assert len(evaluated(report(drifted=3)).state.counted) == 1
    assert evaluated(report(drifted=3), Policy().at_once()).result.recommendation == "RETRAIN"


def test_other_errors_pass_through() -> None:
    """An error of the comparison is not turned into a result."""

    def broken(*_frames: object, **_options: object) -> NoReturn:
        raise ZeroDivisionError("in the middle of it")

    inputs = ComparisonInputs(pd.DataFrame(), pd.DataFrame(), Window(), Window(), SCHEMA, PLAN)
    with pytest.raises(ZeroDivisionError):
        evaluate(inputs, Policy(), min_subjects=1, compare=broken)


def test_the_example_in_the_docstring_works() -> None:
    """The doctest of `evaluate` passes."""
    assert doctest.testmod(module) == (0, 11)
