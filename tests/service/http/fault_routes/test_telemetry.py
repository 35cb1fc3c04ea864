from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.core.faults import FAULTS
from tests.service.http.fault_routes.asking import FAILING, NO_STORE, SLOW, SLOW_STORE, put
from tests.service.observed import Observed, captured_log, entries, observed_service
from tests.telemetry import attributes_of, parent_id, span_id


def active(service: Observed) -> dict[str, float]:
    """The gauge's values by fault."""
    points = service.telemetry.collect().points(names.FAULT_ACTIVE)
    return {point.attributes[names.FAULT_NAME]: point.value for point in points}


@pytest.mark.parametrize(
    ("faults", "marks"),
    [
        (SLOW, {names.FLAG_KEY: "slow_scoring", names.FLAG_VALUE: "30 ms"}),
        (SLOW_STORE, {names.FLAG_KEY: "slow_snapshots", names.FLAG_VALUE: "30 ms"}),
        (NO_STORE, {names.FLAG_KEY: "no_snapshots"}),
        (FAILING, {names.FLAG_KEY: "errors"}),
    ],
    ids=FAULTS,
)
def test_a_request_that_was_struck_says_so(service: Observed, faults: dict[str, Any], marks: dict[str, str]) -> None:
    """The server span carries the attributes of a feature flag that is on, for whoever does not know of the fault."""
    put(service, faults)
    service.predict_customer()
    attributes = attributes_of(service.telemetry.server_span())
    found = {key: value for key, value in attributes.items() if key.startswith("feature_flag.")}
    common = {names.FLAG_VARIANT: "on", names.FLAG_REASON: "static", names.FLAG_PROVIDER: "leeway"}
    assert found == marks | common


def test_each_fault_that_struck_is_an_event(service: Observed) -> None:
    """Where two strike one request, each is an event on its span, in their order."""
    put(service, SLOW | SLOW_STORE)
    service.predict_customer()
    events = service.telemetry.server_span().events
    assert [event.name for event in events] == [names.EVENT_FLAG_EVALUATED] * 2
    assert [(event.attributes or {})[names.FLAG_KEY] for event in events] == ["slow_snapshots", "slow_scoring"]


def test_chance_has_its_own_reason(service: Observed) -> None:
    """A fault that strikes by chance is a split, in the conventions' words."""
    put(service, {"slow_scoring": {"milliseconds": 1, "probability": 1 - 1e-9}})
    service.predict()
    assert attributes_of(service.telemetry.server_span())[names.FLAG_REASON] == "split"


def test_marks_stand_on_the_requests_span_alone(service: Observed) -> None:
    """The steps below it bear none: what is searched for is the request."""
    put(service, SLOW)
    service.predict()
    server = service.telemetry.server_span()
    (score,) = service.telemetry.spans(names.SPAN_SCORE)
    assert parent_id(score) == span_id(server)
    assert names.FLAG_KEY not in attributes_of(score)


def test_a_request_that_was_spared_bears_no_mark(service: Observed) -> None:
    """Without a fault there is no attribute of a feature flag, though faults are allowed."""
    service.predict_customer()
    assert "feature_flag" not in service.telemetry.spans_json()


def test_the_gauge_reports_all_four(service: Observed) -> None:
    """Where faults are allowed each of them is reported, 1 where it is in force."""
    put(service, SLOW)
    assert active(service) == {"slow_scoring": 1, "slow_snapshots": 0, "no_snapshots": 0, "errors": 0}


def test_the_gauge_is_as_its_record_says(service: Observed) -> None:
    """Name, unit and description are those of `names`."""
    found = service.telemetry.collect().metrics[names.FAULT_ACTIVE.name]
    assert (found.unit, found.description) == (names.FAULT_ACTIVE.unit, names.FAULT_ACTIVE.description)


def test_the_log_warns_that_faults_are_allowed(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """Whoever starts such a service reads at once what can be done to it."""
    with captured_log() as log, observed_service(bundle, tmp_path, people, faults=True):
        warned = [entry["message"] for entry in entries(log) if entry["level"] == "WARNING"]
    assert any("LEEWAY_FAULTS=on" in message for message in warned)


def test_the_log_leads_to_who_switched(service: Observed) -> None:
    """The warning that faults began carries the trace of the request that put them in force."""
    with captured_log() as log:
        service.client.put("/faults", json={**SLOW, "seconds": 60})
    (entry,) = [entry for entry in entries(log) if "faults are active" in entry["message"]]
    assert entry["span_id"] == span_id(service.telemetry.server_span())
