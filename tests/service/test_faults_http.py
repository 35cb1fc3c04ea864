from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from leeway.bundle import Bundle
from leeway.population import Population
from leeway.telemetry import names
from service.faults import FAULTS
from tests.service.observed import CUSTOMER, Observed, captured_log, entries, observed_service
from tests.service.processes import ROOT, TWO_WORKERS, ended, environment
from tests.telemetry import attributes_of, parent_id, span_id

DELAY_MS = 30
NOTHING: dict[str, Any] = {"faults": {}, "seconds_left": None}
SLOW: dict[str, Any] = {"slow_scoring": {"milliseconds": DELAY_MS}}
SLOW_STORE: dict[str, Any] = {"slow_snapshots": {"milliseconds": DELAY_MS, "probability": 1}}
NO_STORE: dict[str, Any] = {"no_snapshots": True}
FAILING: dict[str, Any] = {"errors": {"probability": 1}}


@pytest.fixture
def service(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service that allows faults; none is in force."""
    with observed_service(bundle, tmp_path, people, faults=True) as observed:
        yield observed


@pytest.fixture
def strict(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service that does not."""
    with observed_service(bundle, tmp_path, people) as observed:
        yield observed


def put(service: Observed, faults: dict[str, Any], seconds: float = 60) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
    """Put faults in force, and forget the span of that."""
    response = service.client.put("/faults", json={**faults, "seconds": seconds})
    service.telemetry.forget_spans()
    return response


def milliseconds(span: ReadableSpan) -> float:
    """How long a span took."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def active(service: Observed) -> dict[str, float]:
    """The gauge's values by fault."""
    points = service.telemetry.collect().points(names.FAULT_ACTIVE)
    return {point.attributes[names.FAULT_NAME]: point.value for point in points}


# --- where they are not allowed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_elsewhere_the_routes_do_not_exist(strict: Observed, method: str) -> None:
    """Without LEEWAY_FAULTS=on nothing is at /faults: 404, as at any other address."""
    response = strict.client.request(method, "/faults", json={**SLOW, "seconds": 60})
    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:not-found")


def test_elsewhere_the_docs_do_not_speak_of_them(strict: Observed) -> None:
    """OpenAPI knows no /faults."""
    assert "/faults" not in strict.client.get("/openapi.json").json()["paths"]


def test_elsewhere_there_is_no_gauge(strict: Observed) -> None:
    """The gauge is not reported at all."""
    strict.predict()
    assert names.FAULT_ACTIVE.name not in strict.telemetry.collect().metrics


WRAPPERS = """
import gc
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
from service.faults import FaultySnapshots, FaultyScorer
with ExitStack() as stack:
    kept = compose(ServiceSettings.read(), stack)
    there = [type(each).__name__ for each in gc.get_objects() if type(each) in (FaultySnapshots, FaultyScorer)]
print(*sorted(there))
"""


@pytest.mark.parametrize(("allowed", "wrappers"), [("off", ""), ("on", "FaultyScorer FaultySnapshots")])
def test_wrappers_stand_only_where_faults_are_allowed(
    bundle: Bundle, tmp_path: Path, allowed: str, wrappers: str
) -> None:
    """Where faults are not allowed nothing stands between the use case and its scorer and snapshots."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS=allowed)
    done = subprocess.run(
        [sys.executable, "-c", WRAPPERS], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1:] == [wrappers]


def test_several_workers_cannot_have_faults(bundle: Bundle, tmp_path: Path) -> None:
    """A fault would strike in one worker only: refused, with the reason and the way out."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS="on", LEEWAY_METRICS_ENDPOINT="off")
    done = ended(env, TWO_WORKERS)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "LEEWAY_FAULTS" in line


# --- the routes -----------------------------------------------------------------------------------------------------


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
        ({"seconds": 60}, "body", "must hold at least one fault: slow_scoring, slow_snapshots, no_snapshots, errors"),
        (SLOW, "seconds", "is missing"),
        ({**SLOW, "seconds": 0.5}, "seconds", "must be at least 1"),
        ({**SLOW, "seconds": 3_601}, "seconds", "must be at most 3600"),
        ({"slow_scoring": {"milliseconds": "80"}, "seconds": 60}, "slow_scoring.milliseconds", "must be a number"),
        ({"slow_scoring": {}, "seconds": 60}, "slow_scoring.milliseconds", "is missing"),
        ({"errors": {"probability": 0}, "seconds": 60}, "errors.probability", "must be more than 0"),
        ({"errors": {"probability": 5}, "seconds": 60}, "errors.probability", "must be at most 1"),
        ({"fire": True, "seconds": 60}, "fire", "is not known here: leave it out"),
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


# --- what a request meets -------------------------------------------------------------------------------------------


def test_slow_scoring_shows_in_the_score_span(service: Observed) -> None:
    """The span `score` takes as long as the fault says."""
    put(service, SLOW)
    assert service.predict().status_code == 200
    (span,) = service.telemetry.spans(names.SPAN_SCORE)
    assert milliseconds(span) >= DELAY_MS


def test_slow_scoring_counts_as_inference(service: Observed) -> None:
    """The time is the model's in the metric too."""
    put(service, SLOW)
    service.predict()
    (point,) = service.telemetry.collect().points(names.INFERENCE_DURATION)
    assert point.sum >= DELAY_MS / 1_000


def test_slow_snapshots_show_in_the_look_up(service: Observed) -> None:
    """The span `snapshot lookup` takes as long as the fault says, and scoring does not."""
    put(service, SLOW_STORE)
    assert service.predict_customer().status_code == 200
    (lookup,), (score,) = service.telemetry.spans(names.SPAN_SNAPSHOT_LOOKUP), service.telemetry.spans(names.SPAN_SCORE)
    assert milliseconds(lookup) >= DELAY_MS > milliseconds(score)


def test_without_snapshots_customers_meet_503(service: Observed) -> None:
    """A request for a customer is answered as where the database is away."""
    put(service, NO_STORE)
    response = service.predict_customer()
    assert (response.status_code, response.json()["type"]) == (503, "urn:leeway:problem:snapshot-store-down")


def test_without_snapshots_features_go_on(service: Observed) -> None:
    """A request that brings its features is answered, and bears no mark."""
    put(service, NO_STORE)
    assert service.predict().status_code == 200
    assert names.FLAG_KEY not in attributes_of(service.telemetry.server_span())


@pytest.mark.parametrize(
    ("path", "body"),
    [("/predict", {"user_id": CUSTOMER}), ("/predict/batch", {"items": [{"user_id": CUSTOMER}] * 2})],
    ids=["single", "batch"],
)
def test_errors_meet_the_ordinary_500(service: Observed, path: str, body: dict[str, Any]) -> None:
    """An error is answered with the problem document of any other, and the span holds the exception."""
    put(service, FAILING)
    response, span = service.client.post(path, json=body), service.telemetry.server_span()
    assert (response.status_code, response.json()["type"]) == (500, "urn:leeway:problem:internal")
    assert span.status.status_code is StatusCode.ERROR
    assert "exception" in {event.name for event in span.events}


def test_a_batch_is_one_call(service: Observed) -> None:
    """A batch waits once, not once an item."""
    put(service, SLOW)
    service.client.post("/predict/batch", json={"items": [{"features": service.example}] * 50})
    (event,) = service.telemetry.server_span().events
    assert (event.attributes or {})[names.FLAG_KEY] == "slow_scoring"


# --- how it is seen -------------------------------------------------------------------------------------------------


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
    (entry,) = [entry for entry in entries(log) if "faults are in force" in entry["message"]]
    assert entry["span_id"] == span_id(service.telemetry.server_span())
