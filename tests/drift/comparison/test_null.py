"""Windows without drift raise no alarms, measured by the same rules as Evidently."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift_power import SIZES
from drift.comparison.evidently import evidently_page
from drift.comparison.findings import DriftReport
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Observation, judge
from leeway.data.population import population
from leeway.data.tabular import TrainingData
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import frame_values
from leeway.model.training import train
from leeway.model.writer import Origin
from leeway.schema import CHURN_SCHEMA, SCORE_COLUMN
from tests.drift.comparisons import compared, drawn, features_of, prepared

WINDOWS = 150
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def full_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model of the whole built-in population; its reference holds 2,113 rows."""
    people = population()
    data = TrainingData(CHURN_SCHEMA, features_of(people), np.array(people.labels))
    return train(data, tmp_path_factory.mktemp("full") / "bundle", Origin())


@pytest.fixture(scope="module")
def quiet(full_bundle: Bundle) -> Callable[[int], list[DriftReport]]:
    """Reports of 150 windows of so many subjects, drawn from the reference itself."""
    frame = full_bundle.reference()
    reference = prepared(frame, full_bundle.schema, full_bundle.card.drift)

    @cache
    def reports(size: int) -> list[DriftReport]:
        rng = np.random.default_rng(size)
        return [compared(reference, drawn(frame, size, rng)) for _ in range(WINDOWS)]

    return reports


@pytest.mark.long
@pytest.mark.parametrize("size", SIZES)
def test_false_alarms_are_rare(size: int, quiet: Callable[[int], list[DriftReport]]) -> None:
    """Of 150 windows drawn from the reference at most 7 % show a drifted feature, at every size."""
    assert sum(bool(report.detected) for report in quiet(size)) <= 0.07 * WINDOWS


@pytest.mark.long
@pytest.mark.parametrize("size", SIZES)
def test_windows_without_drift_need_no_action(size: int, quiet: Callable[[int], list[DriftReport]]) -> None:
    """Quality and prediction are act in at most 1 % of them, and the recommendation is NO_ACTION."""
    judged = [judge(Observation("v1", NOW, NOW, report), Policy().at_once()) for report in quiet(size)]
    acting = [each for each in judged if "act" in {each.verdicts[name].state for name in ("quality", "prediction")}]
    assert len(acting) <= WINDOWS / 100
    assert sum(each.recommendation != "NO_ACTION" for each in judged) <= WINDOWS / 100


@pytest.mark.parametrize("size", SIZES)
def test_evidently_agrees_on_windows_without_drift(size: int, full_bundle: Bundle) -> None:
    """Evidently gives the same scores, of the features and of the model, within 1e-9."""
    frame = full_bundle.reference()
    window = drawn(frame, size, np.random.default_rng(size))
    reference = prepared(frame, full_bundle.schema, full_bundle.card.drift)
    ours = compared(reference, window)
    assert ours.prediction is not None
    scores = {each.feature: each.score for each in ours.features} | {SCORE_COLUMN: ours.prediction.score}
    page = evidently_page(reference, frame_values(window, full_bundle.schema), size)
    assert page.scores == pytest.approx(scores, abs=1e-9)


def test_new_customers_are_not_drift(full_bundle: Bundle) -> None:
    """A month later, without drift, nothing is detected among customers that are not in the reference."""
    later = features_of(population(1, seed=8))
    reference = prepared(full_bundle.reference(), full_bundle.schema, full_bundle.card.drift)
    rng = np.random.default_rng(0)
    reports = [compared(reference, drawn(later, size, rng)) for size in SIZES for _ in range(5)]
    assert sum(bool(report.detected) for report in reports) <= 1


def test_scores_do_not_depend_on_the_number_of_rows(full_bundle: Bundle) -> None:
    """With every row eight times the distribution, methods and scores are the same."""
    frame = full_bundle.reference()
    reference, window = prepared(frame, full_bundle.schema, full_bundle.card.drift), frame.iloc[:300]
    few, many = compared(reference, window), compared(reference, pd.concat([window] * 8))
    assert [each.method for each in few.features] == [each.method for each in many.features]
    assert [each.score for each in few.features] == pytest.approx([each.score for each in many.features], abs=1e-9)
