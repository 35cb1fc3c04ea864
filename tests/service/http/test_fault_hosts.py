from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import Observed, observed_service

FAULT = {"errors": {"probability": 1}, "seconds": 60}
NOTHING: dict[str, object] = {"faults": {}, "seconds_left": None}


@pytest.fixture(scope="module")
def service(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that allows faults, by one name more than others."""
    folder: Path = tmp_path_factory.mktemp("hosts")
    with observed_service(bundle, folder, people, faults=True, faults_hosts="Lee.example, other.example") as observed:
        yield observed


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8000", "localhost.rebound.example", "[::1", ""])
def test_a_name_that_somebody_owns_is_refused(service: Observed, method: str, host: str) -> None:
    """A page that makes its name lead here cannot switch faults: 403, and what would do."""
    response = service.client.request(method, "/faults", json=FAULT, headers={"host": host})
    assert (response.status_code, response.json()["type"]) == (403, "urn:leeway:problem:foreign-host")
    assert "LEEWAY_FAULTS_HOSTS" in response.json()["detail"]
    assert service.client.get("/faults").json() == NOTHING


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8000", "leeway.localhost", "127.0.0.1:8000", "[::1]:8000", "192.168.1.5"),
        *("service:8000", "lee.example:8000", "other.example"),
    ],
)
def test_addresses_and_names_that_nobody_owns_are_answered(service: Observed, host: str) -> None:
    """Whoever runs the service asks so; and by the names that a setting allows."""
    assert service.client.get("/faults", headers={"host": host}).json() == NOTHING


def test_predictions_are_answered_by_any_name(service: Observed) -> None:
    """A service behind a name of its own goes on: nothing but faults is refused."""
    assert service.predict(host="leeway.example").status_code == 200
