from __future__ import annotations

import io
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from opentelemetry.trace import SpanKind, StatusCode

from leeway.bundle import Bundle, OnnxScorer
from leeway.population import Population
from leeway.record import CHECK_HEADER
from leeway.telemetry import names
from service.__main__ import server_config
from service.workers import listen
from tests.service.observed import (
    CUSTOMER,
    STRANGER,
    UNUSUAL,
    Observed,
    captured_log,
    entries,
    observed_service,
    silent_service,
)
from tests.telemetry import attributes_of, parent_id, span_id, trace_id

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def running(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """One service with twenty customers for all tests here."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed:
        yield observed


@pytest.fixture
def service(running: Observed) -> Observed:
    """That service, with the spans of earlier tests forgotten."""
    running.telemetry.forget_spans()
    return running


def broken(*_: object) -> Any:  # noqa: ANN401 (it never returns)
    """Stands for a model that fails."""
    raise RuntimeError("the model broke")


def test_a_request_is_one_server_span_with_its_two_steps_below(service: Observed) -> None:
    """Asking for a customer makes one SERVER span, and below it `snapshot lookup` and `score`, and nothing else."""
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


def test_a_batch_is_looked_up_and_scored_once(service: Observed) -> None:
    """A batch makes one span of each step, and each says how many items it was for."""
    items = [{"user_id": CUSTOMER}, {"user_id": STRANGER}, {"features": service.example}]
    service.client.post("/predict/batch", json={"items": items})
    (lookup,), (score,) = service.telemetry.spans("snapshot lookup"), service.telemetry.spans("score")
    assert (attributes_of(lookup)[names.BATCH_SIZE], attributes_of(score)[names.BATCH_SIZE]) == (2, 2)


def test_a_server_span_speaks_the_stable_http_conventions(service: Observed) -> None:
    """Method, route, path and status have their stable names, and the old ones are absent."""
    service.predict_customer()
    attributes = attributes_of(service.telemetry.server_span())
    expected = {
        "http.request.method": "POST",
        "http.route": "/predict",
        "url.path": "/predict",
        "http.response.status_code": 200,
    }
    assert attributes | expected == attributes
    assert not {"http.method", "http.target", "http.url", "http.status_code"} & attributes.keys()


def test_a_server_span_is_named_for_its_route(service: Observed) -> None:
    """The name is the method and the route."""
    service.predict_customer()
    assert service.telemetry.server_span().name == "POST /predict"


def test_a_server_span_tells_what_was_predicted(service: Observed) -> None:
    """The request's span carries the prediction's id, score and outcome, the model, and how unusual the input was."""
    answer = service.predict(UNUSUAL).json()
    attributes = attributes_of(service.telemetry.server_span())
    expected = {
        names.PREDICTION_ID: answer["prediction_id"],
        names.PREDICTION_SCORE: answer["probability"],
        names.OUTCOME: answer["prediction"],
        names.MODEL_VERSION: answer["model"]["version"],
        names.TYPICALITY: "unusual",
        names.UNUSUAL_COUNT: 1,
        names.PREDICTION_RECORDED: True,
    }
    assert attributes | expected == attributes


def test_a_check_is_marked_in_its_trace(service: Observed) -> None:
    """Who looks at traces, or samples them, can tell it from what was wanted; those have no such attribute."""
    for headers in ({CHECK_HEADER: "true"}, {}):
        service.predict(None, **headers)
    marks = [attributes_of(span).get(names.PREDICTION_CHECK) for span in service.telemetry.spans("POST /predict")]
    assert marks == [True, None]


def test_the_score_span_names_the_unusual_features(service: Observed) -> None:
    """Whoever opens a trace that drifted sees which features did it."""
    service.predict(UNUSUAL)
    (score,) = service.telemetry.spans("score")
    assert attributes_of(score)[names.UNUSUAL_NAMES] == list(UNUSUAL)


def test_a_usual_request_has_no_unusual_features_to_name(service: Observed) -> None:
    """An empty list would be noise on nearly every trace."""
    service.predict_customer()
    (score,) = service.telemetry.spans("score")
    assert names.UNUSUAL_NAMES not in attributes_of(score)


def test_the_answer_names_its_trace(service: Observed) -> None:
    """`trace_id` of the answer is that of the request's span."""
    answer = service.predict_customer().json()
    assert answer["trace_id"] == trace_id(service.telemetry.server_span())


def test_an_incoming_trace_is_continued(service: Observed) -> None:
    """A request with `traceparent` becomes a child in the caller's trace."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-01").json()
    server = service.telemetry.server_span()
    assert (trace_id(server), parent_id(server), answer["trace_id"]) == (TRACE, PARENT, TRACE)


def stored_ids(service: Observed, prediction_id: str) -> tuple[str | None, str | None]:
    """Trace and span as the database has them, once the mover has brought them there."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        with closing(sqlite3.connect(service.database)) as connection:
            row = connection.execute(
                "SELECT trace_id, span_id FROM predictions WHERE prediction_id = ?", (prediction_id,)
            ).fetchone()
        if row is not None:
            return row[0], row[1]
        time.sleep(0.05)
    raise AssertionError("the prediction did not reach the database")


def test_a_record_points_to_its_server_span(service: Observed) -> None:
    """What is recorded of a sampled request leads back to its trace."""
    answer = service.predict().json()
    server = service.telemetry.server_span()
    assert stored_ids(service, answer["prediction_id"]) == (trace_id(server), span_id(server))


def test_an_unsampled_caller_is_honoured(service: Observed) -> None:
    """Where the caller does not sample, no span is made."""
    service.predict(traceparent=f"00-{TRACE}-{PARENT}-00")
    assert service.telemetry.spans() == []


def test_an_unsampled_answer_still_names_its_trace(service: Observed) -> None:
    """The caller's trace id comes back, sampled or not."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-00").json()
    assert answer["trace_id"] == TRACE


def test_an_unsampled_record_points_nowhere(service: Observed) -> None:
    """A link to a trace that was not kept would lead nowhere, so the record has none."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-00").json()
    assert stored_ids(service, answer["prediction_id"]) == (None, None)


def test_a_sampler_of_the_environment_is_followed(
    bundle: Bundle, people: Population, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTEL_TRACES_SAMPLER=traceidratio` with 0 keeps no span; answers and metrics go on."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with observed_service(bundle, tmp_path, people) as service:
        service.predict()
        measured = service.telemetry.collect()
    assert (service.telemetry.spans(), measured.total(names.PREDICTION_DURATION)) == ([], 1)


def test_an_unexpected_error_is_a_span_error_with_its_exception(
    service: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody expected makes the request's span ERROR, with one exception event."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    server = service.telemetry.server_span()
    assert (server.status.status_code, [event.name for event in server.events]) == (StatusCode.ERROR, ["exception"])


def test_an_unexpected_error_is_answered_with_its_trace(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets a 500 problem document that names the trace."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    response = service.predict()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["trace_id"]) == (500, trace_id(service.telemetry.server_span()))


CLIENT_ERRORS: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "unknown customer": (404, "POST", "/predict", {"json": {"user_id": STRANGER}}),
    "unknown path": (404, "GET", "/nothing/here", {}),
    "wrong method": (405, "GET", "/predict", {}),
    "too large": (413, "POST", "/predict", {"content": b" " * 2**21, "headers": {"content-type": "application/json"}}),
    "no JSON by type": (415, "POST", "/predict", {"content": b"x", "headers": {"content-type": "text/plain"}}),
    "no JSON": (400, "POST", "/predict", {"content": b"{", "headers": {"content-type": "application/json"}}),
    "no feature": (422, "POST", "/predict", {"json": {"features": {}}}),
}


@pytest.mark.parametrize("case", CLIENT_ERRORS)
def test_a_client_error_is_no_span_error(service: Observed, case: str) -> None:
    """A 4xx is the client's affair: one span with that status code, not marked as an error."""
    status, method, path, body = CLIENT_ERRORS[case]
    response = service.client.request(method, path, **body)
    server = service.telemetry.server_span()
    assert response.status_code == status
    assert attributes_of(server)["http.response.status_code"] == status
    assert server.status.status_code is StatusCode.UNSET


def test_a_store_that_is_down_is_a_span_error(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """With the snapshots out of reach the look-up's span and the request's are ERROR."""
    folder = tmp_path / "is-a-folder.db"
    folder.mkdir()
    with observed_service(bundle, tmp_path, people, database=f"sqlite:///{folder}") as service:
        service.predict_customer()
        spans = [*service.telemetry.spans("snapshot lookup"), service.telemetry.server_span()]
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_watching_the_service_leaves_no_trace(service: Observed, path: str) -> None:
    """Health and metrics routes, asked every few seconds, make neither spans nor HTTP measurements."""
    assert service.client.get(path).status_code == 200
    measured = service.telemetry.collect()
    assert service.telemetry.spans() == []
    assert measured.points(names.HTTP_REQUEST_DURATION, {names.HTTP_ROUTE: path}) == []


def test_only_the_very_watching_paths_are_left_out(service: Observed) -> None:
    """A path that merely ends like one of them is seen."""
    service.client.get("/predict/health/live")
    assert len(service.telemetry.server_spans()) == 1


def test_a_path_that_nobody_serves_is_not_kept(service: Observed) -> None:
    """What a client invents as a path or a query goes into no span."""
    service.client.get(f"/customers/{CUSTOMER}?id={CUSTOMER}")
    attributes = attributes_of(service.telemetry.server_span())
    assert (attributes["url.path"], attributes["url.query"]) == ("/_other", "_other")


def test_a_method_that_nobody_knows_is_not_kept(service: Observed) -> None:
    """An invented method is `_OTHER`, and its text goes into no span."""
    service.client.request(CUSTOMER, "/model")
    assert CUSTOMER not in service.telemetry.server_span().to_json()


@contextmanager
def served(app: Any) -> Iterator[str]:  # noqa: ANN401 (an ASGI application)
    """Serve `app` by Uvicorn as the process does, in a thread; yield its address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(app))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def everything_told(service: Observed, log: io.StringIO) -> str:
    """All spans, all measurements both ways, and the log, as text."""
    metrics = service.telemetry.collect().to_json()
    lines = [line for line in entries(log) if line["logger"] != "httpx2"]  # that is our own client
    return f"{service.telemetry.spans_json()}\n{metrics}\n{service.client.get('/metrics').text}\n{lines}"


WAYS_TO_SEND_AN_ID: dict[str, tuple[str, str, dict[str, Any]]] = {
    "known": ("POST", "/predict", {"json": {"user_id": CUSTOMER}}),
    "in a batch": ("POST", "/predict/batch", {"json": {"items": [{"user_id": CUSTOMER}, {"user_id": STRANGER}]}}),
    "unknown": ("POST", "/predict", {"json": {"user_id": STRANGER}}),
    "in the path": ("GET", f"/predict/{CUSTOMER}", {}),
    "in the query": ("POST", f"/predict?user_id={CUSTOMER}", {"json": {"user_id": CUSTOMER}}),
    "as a field": ("POST", "/predict", {"json": {CUSTOMER: 1}}),
    "as a feature": ("POST", "/predict", {"json": {"features": {CUSTOMER: CUSTOMER}}}),
    "too long": ("POST", "/predict", {"json": {"user_id": CUSTOMER * 50}}),
    "of a wrong type": ("POST", "/predict", {"json": {"user_id": [CUSTOMER]}}),
    "as no JSON": ("POST", "/predict", {"content": CUSTOMER, "headers": {"content-type": "application/json"}}),
    "as a label": ("POST", "/feedback", {"json": {"items": [{"prediction_id": CUSTOMER, "label": 1}]}}),
}


@pytest.mark.parametrize("way", WAYS_TO_SEND_AN_ID)
def test_no_customer_id_is_told(service: Observed, way: str) -> None:
    """However a customer's id comes in, it is in no span, no metric and no log line."""
    method, path, body = WAYS_TO_SEND_AN_ID[way]
    with captured_log() as log:
        service.client.request(method, path, **body)
        told = everything_told(service, log)
    assert service.telemetry.spans()
    assert CUSTOMER not in told
    assert STRANGER not in told


def test_no_category_of_a_client_is_told(service: Observed) -> None:
    """A category that the training never saw is counted, but its text is told nowhere."""
    with captured_log() as log:
        service.predict({"net_service": CUSTOMER})
        told = everything_told(service, log)
    assert CUSTOMER not in told


def test_no_customer_id_is_told_while_the_store_is_down(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """Not even the database's own error message brings the id into spans or log."""
    folder = tmp_path / "is-a-folder.db"
    folder.mkdir()
    with (
        captured_log() as log,
        observed_service(bundle, tmp_path, people, database=f"sqlite:///{folder}") as service,
    ):
        assert service.predict_customer().status_code == 503
        told = everything_told(service, log)
    assert CUSTOMER not in told


def test_log_lines_of_a_request_carry_its_trace(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged while a request is answered has the ids of its span."""

    def broken_and_said(*_: object) -> Any:  # noqa: ANN401 (it never returns)
        logging.getLogger("model").error("about to break")
        raise RuntimeError("the model broke")

    monkeypatch.setattr(OnnxScorer, "score", broken_and_said)
    with captured_log() as log:
        service.predict()
    (line,) = [entry for entry in entries(log) if entry["logger"] == "model"]
    server = service.telemetry.server_span()
    assert (line["trace_id"], line["span_id"]) == (trace_id(server), span_id(server))


def test_the_servers_word_on_an_unexpected_error_carries_its_trace(
    service: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvicorn logs the traceback after the span has ended; the line has the ids all the same."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    with captured_log() as log, served(service.client.app) as url:
        httpx2.post(f"{url}/predict", json={"features": service.example})
    (line,) = [entry for entry in entries(log) if "exception" in entry]
    assert line["trace_id"] == trace_id(service.telemetry.server_span())


def test_a_websocket_asked_for_is_not_logged_with_its_address(service: Observed) -> None:
    """An upgrade to a WebSocket, which we do not serve, does not bring its path into the log."""
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    with captured_log() as log, served(service.client.app) as url:
        httpx2.get(f"{url}/customers/{CUSTOMER}", headers=upgrade | {"sec-websocket-key": "A" * 22 + "=="})
    assert [line for line in entries(log) if CUSTOMER in str(line) and line["logger"] != "httpx2"] == []


def test_switched_off_the_answer_has_no_trace(bundle: Bundle, tmp_path: Path) -> None:
    """With `OTEL_SDK_DISABLED=true` predictions are answered with `trace_id` null."""
    with silent_service(bundle, tmp_path) as client:
        answer = client.post("/predict", json={"features": dict(bundle.card["example"])})
    assert (answer.status_code, answer.json()["trace_id"]) == (200, None)


def test_switched_off_the_app_is_not_instrumented(bundle: Bundle, tmp_path: Path) -> None:
    """With `OTEL_SDK_DISABLED=true` no middleware of OpenTelemetry stands in a request's way."""
    with silent_service(bundle, tmp_path) as client:
        assert not getattr(client.app, "_is_instrumented_by_opentelemetry", False)
