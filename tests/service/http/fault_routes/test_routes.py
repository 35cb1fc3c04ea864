from __future__ import annotations

from typing import Any

import pytest

from leeway.telemetry import names
from service.core.faults import FAULTS
from tests.service.http.fault_routes.asking import FAILING, NO_STORE, SLOW, SLOW_STORE, put
from tests.service.observed import Observed

NOTHING: dict[str, Any] = {"faults": {}, "seconds_left": None}


def test_at_first_nothing_is_in_force(service: Observed) -> None:
    """A service that allows faults starts without any."""
    assert service.client.get("/faults").json() == NOTHING


def test_what_is_put_is_in_force(service: Observed) -> None:
    """PUT answers what GET does: the faults as they were put, and the seconds that they have left."""
    everything = {
        "slow_scoring": {"milliseconds": 80, "probability": 0.5},
        **SLOW_STORE,
        **NO_STORE,
        "errors": {"probability": 0.05},
    }
    said, shown = put(service, everything, 60).json(), service.client.get("/faults").json()
    assert said["faults"] == shown["faults"] == everything
    assert 0 < shown["seconds_left"] <= said["seconds_left"] <= 60


def test_what_is_deleted_is_not(service: Observed) -> None:
    """DELETE ends all faults, and answers that nothing is in force."""
    put(service, FAILING)
    assert service.client.delete("/faults").json() == NOTHING
    assert service.predict().status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (
            {"seconds": 60},
            "body",
            "must contain at least one fault: slow_scoring, slow_snapshots, no_snapshots, errors",
        ),
        (SLOW, "seconds", "is missing"),
        ({**SLOW, "seconds": 0.5}, "seconds", "must be at least 1"),
        ({**SLOW, "seconds": 3_601}, "seconds", "must be at most 3600"),
        ({"slow_scoring": {"milliseconds": "80"}, "seconds": 60}, "slow_scoring.milliseconds", "must be a number"),
        ({"slow_scoring": {}, "seconds": 60}, "slow_scoring.milliseconds", "is missing"),
        ({"errors": {"probability": 0}, "seconds": 60}, "errors.probability", "must be greater than 0"),
        ({"errors": {"probability": 5}, "seconds": 60}, "errors.probability", "must be at most 1"),
        ({"fire": True, "seconds": 60}, "fire", "is unknown: remove it"),
    ],
)
def test_what_cannot_be_is_refused(service: Observed, body: dict[str, Any], field: str, reason: str) -> None:
    """A 422 problem names the field and says what would do, and nothing is in force after it."""
    response = service.client.put("/faults", json=body)
    assert response.status_code == 422
    assert {"field": field, "reason": reason} in response.json()["errors"]
    assert service.client.get("/faults").json() == NOTHING


def test_a_refused_fault_is_no_refused_prediction(service: Observed) -> None:
    """What is refused here does not count as bad input to the model."""
    service.client.put("/faults", json={"fire": True})
    assert service.telemetry.collect().total(names.REQUEST_REJECTED) == 0


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "TRACE"])
def test_other_methods_are_405(service: Observed, method: str) -> None:
    """The answer names the methods of all routes of the path, not of the first one only."""
    response = service.client.request(method, "/faults")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, PUT")


def test_the_schema_requires_a_fault(service: Observed) -> None:
    """OpenAPI says what the validation does: at least one fault is set."""
    schema = service.client.get("/openapi.json").json()["components"]["schemas"]["FaultsRequest"]
    assert [each["required"] for each in schema["anyOf"]] == [[name] for name in FAULTS]
