from __future__ import annotations

import itertools

import pytest
from opentelemetry.trace import SpanKind

from leeway.store.record import SYNTHETIC_HEADER
from leeway.telemetry import names
from tests.service.observed import CUSTOMER, STRANGER, UNUSUAL, Observed
from tests.telemetry import attributes_of, parent_id, span_id


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
    """A batch makes one span of each step, and each says how many it was for."""
    items = [{"user_id": CUSTOMER}, {"user_id": STRANGER}, {"features": service.example}]
    service.client.post("/predict/batch", json={"items": items})
    (lookup,), (score,) = service.telemetry.spans("snapshot lookup"), service.telemetry.spans("score")
    assert (attributes_of(lookup)[names.SNAPSHOT_ASKED], attributes_of(score)[names.SCORE_ROWS]) == (2, 2)


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
    for headers in ({SYNTHETIC_HEADER: "true"}, {}):
        service.predict(None, **headers)
    marks = [attributes_of(span).get(names.PREDICTION_SYNTHETIC) for span in service.telemetry.spans("POST /predict")]
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
