"""What a batch tells OpenTelemetry of its size: each number under a name of its own."""

from __future__ import annotations

from typing import Any

import pytest

from leeway.model.onnx import OnnxScorer
from leeway.telemetry import names
from tests.service.observed import CUSTOMER, STRANGER, Observed, broken
from tests.telemetry import attributes_of

KNOWN, UNKNOWN, INVALID = {"user_id": CUSTOMER}, {"user_id": STRANGER}, {"user_id": ""}


def sizes(service: Observed, *items: object) -> dict[str, Any]:
    """Which sizes the spans of a batch of these items tell, by attribute."""
    service.client.post("/predict/batch", json={"items": list(items)})
    told = {names.BATCH_SIZE, names.SNAPSHOT_ASKED, names.SCORE_ROWS}
    return {
        name: value for span in service.telemetry.spans() for name, value in attributes_of(span).items() if name in told
    }


def test_a_mixed_batch_tells_each_number_apart(service: Observed) -> None:
    """Five items were asked for, of two customers, of whom one is known and comes three times."""
    assert sizes(service, KNOWN, KNOWN, KNOWN, UNKNOWN, INVALID) == {
        names.BATCH_SIZE: 5,
        names.SNAPSHOT_ASKED: 2,
        names.SCORE_ROWS: 3,
    }


def test_a_valid_batch_tells_its_items(service: Observed) -> None:
    """The quick way tells the same number as the careful one."""
    assert sizes(service, KNOWN, KNOWN, UNKNOWN)[names.BATCH_SIZE] == 3


def test_a_batch_of_nothing_good_tells_its_items(service: Observed) -> None:
    """Nothing is looked up and nothing scored, but two items were asked for."""
    assert sizes(service, INVALID, {}) == {names.BATCH_SIZE: 2}


def test_batches_are_not_in_the_duration_of_predictions(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that are answered nor those that fail: a share of errors over it is one of single predictions."""
    before = service.telemetry.collect().total(names.PREDICTION_DURATION)
    answered = service.client.post("/predict/batch", json={"items": [KNOWN]})
    monkeypatch.setattr(OnnxScorer, "score", broken)
    failed = service.client.post("/predict/batch", json={"items": [KNOWN]})
    assert (answered.status_code, failed.status_code) == (200, 500)
    assert service.telemetry.collect().total(names.PREDICTION_DURATION) == before
    assert "batches are not in it" in names.PREDICTION_DURATION.description


def test_a_single_prediction_has_no_size(service: Observed) -> None:
    """It would say 1 on nearly every span there is."""
    service.predict_customer()
    told = {name for span in service.telemetry.spans() for name in attributes_of(span)}
    assert not told & {names.BATCH_SIZE, names.SNAPSHOT_ASKED, names.SCORE_ROWS}
