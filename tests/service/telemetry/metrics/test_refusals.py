from __future__ import annotations

import itertools
from typing import Any

import pytest

from leeway.telemetry import names
from service.telemetry.probe import REJECTION_REASONS
from tests.service.observed import Observed

REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({"monthly_fee": None}, "monthly_fee", "missing"),
    "of a wrong type": ({"monthly_fee": "much"}, "monthly_fee", "wrong_type"),
    "out of range": ({"monthly_fee": -1}, "monthly_fee", "out_of_range"),
    "unknown": ({"favourite_colour": "red"}, names.OTHER, "unknown"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_feature_is_counted_by_name_and_reason(service: Observed, case: str) -> None:
    """A refusal is counted under the feature at fault and the reason; what is no feature counts as `_other`."""
    changes, feature, reason = REFUSALS[case]
    service.predict(changes)
    measured = service.telemetry.collect()
    assert measured.total(names.REQUEST_REJECTED, {names.FEATURE_NAME: feature, names.ERROR_TYPE: reason}) == 1
    assert measured.total(names.REQUEST_REJECTED) == 1


def test_broken_json_is_counted(service: Observed) -> None:
    """A body that is no JSON counts as malformed, of no feature."""
    service.client.post("/predict", content="{", headers={"content-type": "application/json"})
    attributes = {names.FEATURE_NAME: names.OTHER, names.ERROR_TYPE: "malformed"}
    assert service.telemetry.collect().total(names.REQUEST_REJECTED, attributes) == 1


def test_every_counter_begins_at_zero(service: Observed) -> None:
    """Before the first request each counter holds 0 for every known attribute value.

    Or `increase()` would never see the first event.
    """
    measured = service.telemetry.collect()
    pairs = {
        (point.attributes[names.FEATURE_NAME], point.attributes[names.ERROR_TYPE])
        for point in measured.points(names.REQUEST_REJECTED)
    }
    by_feature = itertools.product(service.example, REJECTION_REASONS[:3])
    assert pairs == {*by_feature, *((names.OTHER, reason) for reason in REJECTION_REASONS)}
    for counter in (names.REQUEST_REJECTED, names.LOG_SPOOLED, names.LOG_WRITTEN, names.LOG_UNRECORDED):
        assert {point.value for point in measured.points(counter)} == {0}
