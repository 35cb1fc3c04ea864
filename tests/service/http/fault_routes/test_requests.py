from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from leeway.telemetry import names
from tests.service.http.fault_routes.asking import DELAY_MS, FAILING, NO_STORE, SLOW, SLOW_STORE, put
from tests.service.observed import CUSTOMER, Observed
from tests.telemetry import attributes_of


def milliseconds(span: ReadableSpan) -> float:
    """How long a span took."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


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
