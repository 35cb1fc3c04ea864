from __future__ import annotations

import itertools
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.onnx import OnnxScorer
from leeway.store.record import SYNTHETIC_HEADER
from leeway.telemetry import names
from tests.service.observed import (
    CUSTOMER,
    STRANGER,
    UNUSUAL,
    Observed,
    broken,
    captured_log,
    entries,
    observed_service,
    served,
    silent_service,
)
from tests.service.processes import eventually
from tests.telemetry import attributes_of, parent_id, span_id, trace_id

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"

# --- a request and its steps --------------------------------------------------------------------------------------


def test_a_request_is_a_server_span_with_two_steps_below(service: Observed) -> None:
    """A prediction for a customer has one SERVER span, and below it only `snapshot lookup` and `score`."""
    service.predict_customer()
    server = service.telemetry.server_span()
    others = [span for span in service.telemetry.spans() if span is not server]
    assert [(span.name, parent_id(span)) for span in others] == [
        ("snapshot lookup", span_id(server)),
        ("score", span_id(server)),
    ]


def test_the_steps_lie_within_their_request(service: Observed) -> None:
    """The times of the two steps follow one another within those of the request."""
    service.predict_customer()
    (lookup,), (score,) = service.telemetry.spans("snapshot lookup"), service.telemetry.spans("score")
    server = service.telemetry.server_span()
    times = [server.start_time, lookup.start_time, lookup.end_time, score.start_time, score.end_time, server.end_time]
    assert all(earlier <= later for earlier, later in itertools.pairwise(filter(None, times)))
    assert None not in times


def test_given_features_need_no_look_up(service: Observed) -> None:
    """A request with features has the one step `score`."""
    service.predict()
    assert [span.name for span in service.telemetry.spans() if span.kind is not SpanKind.SERVER] == ["score"]


def test_a_server_span_follows_the_stable_http_conventions(service: Observed) -> None:
    """It is named for method and route; method, route, path and status have their stable names only."""
    service.predict_customer()
    server = service.telemetry.server_span()
    attributes = attributes_of(server)
    expected = {
        "http.request.method": "POST",
        "http.route": "/predict",
        "url.path": "/predict",
        "http.response.status_code": 200,
    }
    assert server.name == "POST /predict"
    assert attributes | expected == attributes
    assert not {"http.method", "http.target", "http.url", "http.status_code"} & attributes.keys()


def test_a_server_span_describes_the_prediction(service: Observed) -> None:
    """It has the prediction's id, score and outcome, the model, and how unusual the input was."""
    answer = service.predict(UNUSUAL).json()
    attributes = attributes_of(service.telemetry.server_span())
    expected = {
        names.PREDICTION_ID: answer["prediction_id"],
        names.PREDICTION_SCORE: answer["probability"],
        names.OUTCOME: str(answer["prediction"]),
        names.MODEL_VERSION: answer["model"]["version"],
        names.TYPICALITY: "unusual",
        names.UNUSUAL_COUNT: 1,
        names.PREDICTION_RECORDED: True,
    }
    assert attributes | expected == attributes


def test_the_score_span_names_the_unusual_features(service: Observed) -> None:
    """A trace shows which features were unusual; a usual request has no such attribute."""
    service.predict(UNUSUAL)
    service.predict_customer()
    unusual, usual = service.telemetry.spans("score")
    assert attributes_of(unusual)[names.UNUSUAL_NAMES] == list(UNUSUAL)
    assert names.UNUSUAL_NAMES not in attributes_of(usual)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_operational_routes_are_not_traced(service: Observed, path: str) -> None:
    """Health and metrics routes, polled every few seconds, create neither spans nor HTTP measurements."""
    changes = service.changes(lambda: service.client.get(path).raise_for_status())
    assert service.telemetry.spans() == []
    assert changes.points(names.HTTP_REQUEST_DURATION) == []


def test_other_paths_with_such_an_ending_are_traced(service: Observed) -> None:
    """Only the exact paths are excluded."""
    service.client.get("/predict/health/live")
    assert len(service.telemetry.server_spans()) == 1


SYNTHETIC: dict[str, tuple[str, dict[str, Any]]] = {
    "a prediction": ("/predict", {"user_id": CUSTOMER}),
    "a batch": ("/predict/batch", {"items": [{"user_id": CUSTOMER}, {"user_id": CUSTOMER}]}),
    "a partly valid batch": ("/predict/batch", {"items": [{"user_id": CUSTOMER}, {}]}),
    "a rejected batch": ("/predict/batch", {"items": []}),
    "a rejected prediction": ("/predict", {"features": {}}),
}


@pytest.mark.parametrize("case", SYNTHETIC)
def test_a_synthetic_request_is_marked(service: Observed, case: str) -> None:
    """Tail sampling keeps it by this mark, whatever its result; other requests have no such attribute."""
    path, body = SYNTHETIC[case]
    for headers in ({SYNTHETIC_HEADER: "true"}, {}):
        service.client.post(path, json=body, headers=headers)
    marks = [attributes_of(span).get(names.PREDICTION_SYNTHETIC) for span in service.telemetry.server_spans()]
    assert marks == [True, None]


# --- batches ------------------------------------------------------------------------------------------------------

KNOWN, UNKNOWN, INVALID = {"user_id": CUSTOMER}, {"user_id": STRANGER}, {"user_id": ""}
SIZES = {names.BATCH_SIZE, names.SNAPSHOT_ASKED, names.SCORE_ROWS}


def sizes(service: Observed) -> dict[str, Any]:
    """The sizes in all spans, by attribute."""
    attributes = [item for span in service.telemetry.spans() for item in attributes_of(span).items()]
    return {name: value for name, value in attributes if name in SIZES}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (
            [KNOWN, KNOWN, KNOWN, UNKNOWN, INVALID],
            {names.BATCH_SIZE: 5, names.SNAPSHOT_ASKED: 2, names.SCORE_ROWS: 3},
        ),
        ([KNOWN, KNOWN, UNKNOWN], {names.BATCH_SIZE: 3, names.SNAPSHOT_ASKED: 2, names.SCORE_ROWS: 2}),
        ([INVALID, {}], {names.BATCH_SIZE: 2}),
    ],
    ids=["mixed", "valid", "invalid"],
)
def test_a_batch_has_the_sizes_of_its_steps(service: Observed, items: list[object], expected: dict[str, int]) -> None:
    """Items of the request, customers looked up (each once), rows scored; both ways of validation report the same."""
    service.client.post("/predict/batch", json={"items": items})
    assert sizes(service) == expected


def test_a_batch_is_looked_up_and_scored_once(service: Observed) -> None:
    """It has one span for each step."""
    items = [KNOWN, UNKNOWN, {"features": service.example}]
    service.client.post("/predict/batch", json={"items": items})
    (lookup,), (score,) = service.telemetry.spans("snapshot lookup"), service.telemetry.spans("score")
    assert (attributes_of(lookup)[names.SNAPSHOT_ASKED], attributes_of(score)[names.SCORE_ROWS]) == (2, 2)


def test_a_single_prediction_has_no_size(service: Observed) -> None:
    """It would be 1 on nearly every span."""
    service.predict_customer()
    assert sizes(service) == {}


# --- errors -------------------------------------------------------------------------------------------------------


def test_an_unexpected_error_is_a_span_error(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request's span is ERROR with one exception event; the client's 500 problem document names the trace."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    response = service.predict()
    server = service.telemetry.server_span()
    assert (server.status.status_code, [event.name for event in server.events]) == (StatusCode.ERROR, ["exception"])
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["trace_id"]) == (500, trace_id(server))


CLIENT_ERRORS: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "unknown customer": (404, "POST", "/predict", {"json": {"user_id": STRANGER}}),
    "unknown path": (404, "GET", "/nothing/here", {}),
    "wrong method": (405, "GET", "/predict", {}),
    "too large": (413, "POST", "/predict", {"content": b" " * 2**21, "headers": {"content-type": "application/json"}}),
    "not JSON by type": (415, "POST", "/predict", {"content": b"x", "headers": {"content-type": "text/plain"}}),
    "not JSON": (400, "POST", "/predict", {"content": b"{", "headers": {"content-type": "application/json"}}),
    "no feature": (422, "POST", "/predict", {"json": {"features": {}}}),
}


@pytest.mark.parametrize("case", CLIENT_ERRORS)
def test_a_client_error_is_no_span_error(service: Observed, case: str) -> None:
    """A 4xx has one span with its status code, and the span's status is unset."""
    status, method, path, body = CLIENT_ERRORS[case]
    response = service.client.request(method, path, **body)
    server = service.telemetry.server_span()
    assert response.status_code == status
    assert attributes_of(server)["http.response.status_code"] == status
    assert server.status.status_code is StatusCode.UNSET


def test_an_unreachable_database_is_a_span_error(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The lookup's span and the request's are ERROR."""
    folder = tmp_path / "is-a-folder.db"
    folder.mkdir()
    with observed_service(bundle, tmp_path, people, database=f"sqlite:///{folder}") as service:
        service.predict_customer()
        spans = [*service.telemetry.spans("snapshot lookup"), service.telemetry.server_span()]
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR]


# --- trace context ------------------------------------------------------------------------------------------------


def test_the_answer_names_its_trace(service: Observed) -> None:
    """`trace_id` in the answer is that of the request's span."""
    answer = service.predict_customer().json()
    assert answer["trace_id"] == trace_id(service.telemetry.server_span())


def test_an_incoming_trace_is_continued(service: Observed) -> None:
    """A request with `traceparent` becomes a child in the caller's trace."""
    answer = service.predict(traceparent=SAMPLED).json()
    server = service.telemetry.server_span()
    assert (trace_id(server), parent_id(server), answer["trace_id"]) == (TRACE, PARENT, TRACE)


def stored_ids(service: Observed, prediction_id: str) -> tuple[str | None, str | None]:
    """Trace and span in the database, once the drainer has written the prediction."""
    rows: list[tuple[str | None, str | None]] = []

    def is_stored() -> bool:
        with closing(sqlite3.connect(service.database)) as connection:
            query = "SELECT trace_id, span_id FROM predictions WHERE prediction_id = ?"
            rows.extend(connection.execute(query, (prediction_id,)))
        return bool(rows)

    assert eventually(is_stored)
    return rows[0]


def test_a_record_links_to_its_server_span(service: Observed) -> None:
    """The record of a sampled request leads back to its trace."""
    answer = service.predict().json()
    server = service.telemetry.server_span()
    assert stored_ids(service, answer["prediction_id"]) == (trace_id(server), span_id(server))


def test_an_unsampled_request_has_no_span(service: Observed) -> None:
    """Its answer still names the caller's trace; its record has no link, which would lead nowhere."""
    answer = service.predict(traceparent=UNSAMPLED).json()
    assert service.telemetry.spans() == []
    assert answer["trace_id"] == TRACE
    assert stored_ids(service, answer["prediction_id"]) == (None, None)


def test_a_sampler_of_the_environment_is_used(
    bundle: Bundle, people: Population, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTEL_TRACES_SAMPLER=traceidratio` with 0 keeps no span; answers and metrics continue."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with observed_service(bundle, tmp_path, people) as service:
        service.predict()
        measured = service.telemetry.collect()
    assert (service.telemetry.spans(), measured.total(names.PREDICTION_DURATION)) == ([], 1)


def test_log_lines_of_a_request_have_its_trace(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines logged while a request is answered have the ids of its span."""

    def broken_with_a_log_line(*_: object) -> Any:  # noqa: ANN401 (it never returns)
        logging.getLogger("model").error("about to break")
        raise RuntimeError("the model broke")

    monkeypatch.setattr(OnnxScorer, "score", broken_with_a_log_line)
    with captured_log() as log:
        service.predict()
    (line,) = [entry for entry in entries(log) if entry["logger"] == "model"]
    server = service.telemetry.server_span()
    assert (line["trace_id"], line["span_id"]) == (trace_id(server), span_id(server))


def test_the_traceback_of_an_unexpected_error_has_its_trace(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn logs it after the span has ended; the line still has the ids."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    with captured_log() as log, served(service.service) as url:
        httpx2.post(f"{url}/predict", json={"features": service.example})
    (line,) = [entry for entry in entries(log) if "exception" in entry]
    assert line["trace_id"] == trace_id(service.telemetry.server_span())


def test_without_telemetry_the_app_is_not_instrumented(bundle: Bundle, tmp_path: Path) -> None:
    """With `OTEL_SDK_DISABLED=true` answers have `trace_id` null, and no middleware of OpenTelemetry runs."""
    with silent_service(bundle, tmp_path) as client:
        answer = client.post("/predict", json={"features": dict(bundle.card.example)})
        assert not getattr(client.app, "_is_instrumented_by_opentelemetry", False)
    assert (answer.status_code, answer.json()["trace_id"]) == (200, None)
