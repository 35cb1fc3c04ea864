"""`/faults`: the routes, what injected faults do to requests, and how telemetry shows them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.core.faults import FAULTS, FaultSwitch
from service.http.fault_routes import fault_routes
from service.telemetry.probe import FaultProbe
from tests.service.observed import CUSTOMER, Observed, captured_log, entries, observed_service
from tests.service.processes import ROOT, TWO_WORKERS, ended, environment
from tests.telemetry import attributes_of, parent_id, span_id

DELAY_MS = 30
SLOW: dict[str, Any] = {"slow_scoring": {"milliseconds": DELAY_MS}}
SLOW_STORE: dict[str, Any] = {"slow_snapshots": {"milliseconds": DELAY_MS, "probability": 1}}
NO_STORE: dict[str, Any] = {"no_snapshots": True}
FAILING: dict[str, Any] = {"errors": {"probability": 1}}


NOTHING: dict[str, Any] = {"faults": {}, "seconds_left": None}


def put(service: Observed, faults: dict[str, Any], seconds: float = 60) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
    """Activate faults, and forget the span of that request."""
    response = service.client.put("/faults", json={**faults, "seconds": seconds})
    service.telemetry.forget_spans()
    return response


@pytest.fixture(scope="module")
def allowed(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that allows faults, also under two names of its own."""
    folder, hosts = tmp_path_factory.mktemp("service"), "Lee.example, other.example"
    with observed_service(bundle, folder, people, faults=True, faults_hosts=hosts) as observed:
        yield observed


@pytest.fixture
def service(allowed: Observed) -> Iterator[Observed]:
    """The same without active faults and recorded spans."""
    allowed.telemetry.forget_spans()
    yield allowed
    allowed.client.delete("/faults")


@pytest.fixture(scope="module")
def without(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that does not allow faults."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed:
        yield observed


# --- routes -----------------------------------------------------------------------------------------------------------


def test_no_fault_is_active_at_first(service: Observed) -> None:
    """A service that allows faults starts without any."""
    assert service.client.get("/faults").json() == NOTHING


def test_put_activates_faults(service: Observed) -> None:
    """PUT and GET return the faults as they were requested, and the seconds left."""
    everything = {
        "slow_scoring": {"milliseconds": 80, "probability": 0.5},
        **SLOW_STORE,
        **NO_STORE,
        "errors": {"probability": 0.05},
    }
    said, shown = put(service, everything, 60).json(), service.client.get("/faults").json()
    assert said["faults"] == shown["faults"] == everything
    assert 0 < shown["seconds_left"] <= said["seconds_left"] <= 60


def test_delete_ends_faults(service: Observed) -> None:
    """DELETE ends all faults, and returns that none is active."""
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
def test_invalid_faults_are_rejected(service: Observed, body: dict[str, Any], field: str, reason: str) -> None:
    """A 422 problem names the field and the limit, and no fault is active afterwards."""
    response = service.client.put("/faults", json=body)
    assert response.status_code == 422
    assert {"field": field, "reason": reason} in response.json()["errors"]
    assert service.client.get("/faults").json() == NOTHING


def test_a_rejected_fault_is_not_a_rejected_prediction(service: Observed) -> None:
    """What is rejected here does not count as invalid input of the model."""
    changes = service.changes(lambda: service.client.put("/faults", json={"fire": True}))
    assert changes.total(names.REQUEST_REJECTED) == 0


@pytest.mark.parametrize("method", ["POST", "TRACE"])
def test_other_methods_are_405(service: Observed, method: str) -> None:
    """The answer names the methods of all routes of the path, not of the first one only."""
    response = service.client.request(method, "/faults")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")


def test_the_schema_requires_a_fault(service: Observed) -> None:
    """OpenAPI says what the validation does: at least one fault is set."""
    schema = service.client.get("/openapi.json").json()["components"]["schemas"]["FaultsRequest"]
    assert [each["required"] for each in schema["anyOf"]] == [[name] for name in FAULTS]


# --- requests ---------------------------------------------------------------------------------------------------------


def milliseconds(span: ReadableSpan) -> float:
    """How long a span took."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def test_slow_scoring_counts_as_the_models_time(service: Observed) -> None:
    """The span `score` takes as long as the fault says, and so does the metric."""
    put(service, SLOW)
    changes = service.changes(service.predict)
    (span,), (point,) = service.telemetry.spans(names.SPAN_SCORE), changes.points(names.INFERENCE_DURATION)
    assert milliseconds(span) >= DELAY_MS
    assert point.sum >= DELAY_MS / 1_000


def test_slow_snapshots_count_as_the_look_ups_time(service: Observed) -> None:
    """The span `snapshot lookup` takes as long as the fault says, and scoring does not."""
    put(service, SLOW_STORE)
    assert service.predict_customer().status_code == 200
    (lookup,), (score,) = service.telemetry.spans(names.SPAN_SNAPSHOT_LOOKUP), service.telemetry.spans(names.SPAN_SCORE)
    assert milliseconds(lookup) >= DELAY_MS > milliseconds(score)


def test_without_snapshots_customers_get_503(service: Observed) -> None:
    """A request for a customer is answered as if the database were unreachable."""
    put(service, NO_STORE)
    response = service.predict_customer()
    assert (response.status_code, response.json()["type"]) == (503, "urn:leeway:problem:snapshot-store-down")


def test_without_snapshots_features_are_answered(service: Observed) -> None:
    """A request with features is answered, and its span is not marked."""
    put(service, NO_STORE)
    assert service.predict().status_code == 200
    assert names.FLAG_KEY not in attributes_of(service.telemetry.server_span())


@pytest.mark.parametrize(
    ("path", "body"),
    [("/predict", {"user_id": CUSTOMER}), ("/predict/batch", {"items": [{"user_id": CUSTOMER}] * 2})],
    ids=["single", "batch"],
)
def test_errors_are_the_ordinary_500(service: Observed, path: str, body: dict[str, Any]) -> None:
    """An injected error has the problem document of any other, and the span has the exception."""
    put(service, FAILING)
    response, span = service.client.post(path, json=body), service.telemetry.server_span()
    assert (response.status_code, response.json()["type"]) == (500, "urn:leeway:problem:internal")
    assert span.status.status_code is StatusCode.ERROR
    assert "exception" in {event.name for event in span.events}


def test_a_batch_is_one_call(service: Observed) -> None:
    """A batch waits once, not once per item."""
    put(service, SLOW)
    service.client.post("/predict/batch", json={"items": [{"features": service.example}] * 50})
    (event,) = service.telemetry.server_span().events
    assert (event.attributes or {})[names.FLAG_KEY] == "slow_scoring"


# --- telemetry --------------------------------------------------------------------------------------------------------


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
def test_a_request_with_a_fault_is_marked(service: Observed, faults: dict[str, Any], marks: dict[str, str]) -> None:
    """The server span has the attributes of a feature flag that is on."""
    put(service, faults)
    service.predict_customer()
    attributes = attributes_of(service.telemetry.server_span())
    found = {key: value for key, value in attributes.items() if key.startswith("feature_flag.")}
    common = {names.FLAG_VARIANT: "on", names.FLAG_REASON: "static", names.FLAG_PROVIDER: "leeway"}
    assert found == marks | common


def test_each_injected_fault_is_an_event(service: Observed) -> None:
    """Of two faults in one request each is an event on its span, in their order."""
    put(service, SLOW | SLOW_STORE)
    service.predict_customer()
    events = service.telemetry.server_span().events
    assert [event.name for event in events] == [names.EVENT_FLAG_EVALUATED] * 2
    assert [(event.attributes or {})[names.FLAG_KEY] for event in events] == ["slow_snapshots", "slow_scoring"]


def test_a_fault_by_chance_has_its_own_reason(service: Observed) -> None:
    """A fault with a probability below 1 is a `split`, the conventions' term."""
    put(service, {"slow_scoring": {"milliseconds": 1, "probability": 1 - 1e-9}})
    service.predict()
    assert attributes_of(service.telemetry.server_span())[names.FLAG_REASON] == "split"


def test_only_the_requests_span_is_marked(service: Observed) -> None:
    """Its child spans are not: people search for the request."""
    put(service, SLOW)
    service.predict()
    server = service.telemetry.server_span()
    (score,) = service.telemetry.spans(names.SPAN_SCORE)
    assert parent_id(score) == span_id(server)
    assert names.FLAG_KEY not in attributes_of(score)


def test_a_request_without_a_fault_is_not_marked(service: Observed) -> None:
    """Without an active fault no span has an attribute of a feature flag, even where faults are allowed."""
    service.predict_customer()
    assert "feature_flag" not in service.telemetry.spans_json()


def test_the_gauge_reports_every_fault(service: Observed) -> None:
    """Where faults are allowed each of them is reported, as 1 while it is active."""
    put(service, SLOW)
    assert active(service) == {"slow_scoring": 1, "slow_snapshots": 0, "no_snapshots": 0, "errors": 0}


def test_the_gauge_has_its_declared_unit(service: Observed) -> None:
    """Name, unit and description are those of `names`."""
    found = service.telemetry.collect().metrics[names.FAULT_ACTIVE.name]
    assert (found.unit, found.description) == (names.FAULT_ACTIVE.unit, names.FAULT_ACTIVE.description)


def test_the_log_warns_that_faults_are_allowed(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The log of such a service says at its start what clients can do."""
    with captured_log() as log, observed_service(bundle, tmp_path, people, faults=True):
        warned = [entry["message"] for entry in entries(log) if entry["level"] == "WARNING"]
    assert any("LEEWAY_FAULTS=on" in message for message in warned)


def test_the_log_leads_to_the_request(service: Observed) -> None:
    """The warning that faults are active has the trace of the request that activated them."""
    with captured_log() as log:
        service.client.put("/faults", json={**SLOW, "seconds": 60})
    (entry,) = [entry for entry in entries(log) if "faults are active" in entry["message"]]
    assert entry["span_id"] == span_id(service.telemetry.server_span())


# --- where faults are not allowed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_without_the_setting_the_routes_do_not_exist(without: Observed, method: str) -> None:
    """Without LEEWAY_FAULTS=on /faults is 404, like any other unknown path."""
    response = without.client.request(method, "/faults", json={**SLOW, "seconds": 60})
    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:not-found")


def test_without_the_setting_openapi_has_no_faults(without: Observed) -> None:
    """OpenAPI does not list /faults."""
    assert "/faults" not in without.client.get("/openapi.json").json()["paths"]


def test_without_the_setting_there_is_no_gauge(without: Observed) -> None:
    """The gauge is not reported at all."""
    without.predict()
    assert names.FAULT_ACTIVE.name not in without.telemetry.collect().metrics


WRAPPERS = """
import gc
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
from service.core.faults import FaultySnapshots, FaultyScorer
with ExitStack() as stack:
    kept = compose(ServiceSettings.read(), stack)
    there = [type(each).__name__ for each in gc.get_objects() if type(each) in (FaultySnapshots, FaultyScorer)]
print(*sorted(there))
"""


@pytest.mark.parametrize(("allowed", "wrappers"), [("off", ""), ("on", "FaultyScorer FaultySnapshots")])
def test_wrappers_exist_only_where_faults_are_allowed(
    bundle: Bundle, tmp_path: Path, allowed: str, wrappers: str
) -> None:
    """Where faults are not allowed the use case has the real scorer and snapshots."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS=allowed)
    done = subprocess.run(
        [sys.executable, "-c", WRAPPERS], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1:] == [wrappers]


def test_several_workers_cannot_have_faults(bundle: Bundle, tmp_path: Path) -> None:
    """A fault would be injected in one worker only: the start fails with the reason and what to do."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS="on", LEEWAY_METRICS_ENDPOINT="off")
    done = ended(env, TWO_WORKERS)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "LEEWAY_FAULTS" in line


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8000", "localhost.rebound.example", "[::1", ""])
def test_a_name_that_somebody_can_register_is_rejected(service: Observed, method: str, host: str) -> None:
    """A page whose name resolves here cannot inject faults: 403, and what to do."""
    response = service.client.request(method, "/faults", json={**FAILING, "seconds": 60}, headers={"host": host})
    assert (response.status_code, response.json()["type"]) == (403, "urn:leeway:problem:foreign-host")
    assert "LEEWAY_FAULTS_HOSTS" in response.json()["detail"]
    assert service.client.get("/faults").json() == NOTHING


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST:8000",
            "leeway.localhost",
            "127.0.0.1:8000",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:8000",
            "192.168.1.5",
        ),
        *("service:8000", "lee.example:8000", "other.example"),
    ],
)
def test_addresses_and_unroutable_names_are_answered(service: Observed, host: str) -> None:
    """The operator's own requests work, and those under the names that a setting allows."""
    assert service.client.get("/faults", headers={"host": host}).json() == NOTHING


def test_predictions_are_answered_under_any_name(service: Observed) -> None:
    """A service with a public name works: only faults are rejected."""
    assert service.predict(host="leeway.example").status_code == 200


def test_the_end_is_logged_without_a_request() -> None:
    """PUT schedules a look at the switch just after the faults' time, which logs their end."""
    now_s, due = [0.0], list[tuple[float, Callable[[], object]]]()
    switch = FaultSwitch(FaultProbe(), clock_s=lambda: now_s[0])
    app = FastAPI()
    app.include_router(fault_routes(switch, later=lambda seconds, call: due.append((seconds, call))))
    TestClient(app).put("/faults", json={"no_snapshots": True, "seconds": 30})
    ((seconds, look),) = due
    now_s[0] += seconds
    look()
    assert switch._active is None
