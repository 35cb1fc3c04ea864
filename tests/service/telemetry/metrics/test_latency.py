from __future__ import annotations

from typing import Any

import pytest

from leeway.model.onnx import OnnxScorer
from leeway.telemetry import names
from tests.service.observed import STRANGE, STRANGER, UNUSUAL, Observed, broken
from tests.telemetry import span_id, trace_id


def test_latency_is_measured_by_route_and_status(service: Observed) -> None:
    """A request counts once, in seconds, under its method, route and status."""
    service.predict()
    (point,) = service.telemetry.collect().points(names.HTTP_REQUEST_DURATION)
    attributes = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/predict", names.HTTP_STATUS: 200}
    assert (dict(point.attributes), point.count) == (attributes, 1)
    assert 0 < point.sum < 5


def test_latency_leads_to_its_trace(service: Observed) -> None:
    """The latency's exemplar is the request's span."""
    service.predict()
    server = service.telemetry.server_span()
    (exemplar,) = service.telemetry.collect().exemplars(names.HTTP_REQUEST_DURATION)
    assert (exemplar.trace_id, exemplar.span_id) == (int(trace_id(server), 16), int(span_id(server), 16))


def test_no_request_stays_in_flight(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that end well and badly both leave the number in flight at 0."""
    service.predict()
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    assert service.telemetry.collect().total(names.HTTP_ACTIVE_REQUESTS) == 0


def test_an_unexpected_error_counts_as_latency(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that ended in an exception is measured, with status 500 and the error's type."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    measured = service.telemetry.collect()
    assert measured.total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 500, names.ERROR_TYPE: "500"}) == 1


def test_an_unexpected_error_counts_as_a_prediction(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prediction that broke is measured under its error's type."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    assert service.telemetry.collect().total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "RuntimeError"}) == 1


def test_a_refused_request_counts_as_latency(service: Observed) -> None:
    """A 422 is measured with its status."""
    service.predict({"monthly_fee": -1})
    assert service.telemetry.collect().total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 422}) == 1


def test_an_unknown_customer_counts_as_a_prediction(service: Observed) -> None:
    """A prediction that could not be made is measured under the reason."""
    service.predict_customer(STRANGER)
    assert service.telemetry.collect().total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "UnknownCustomer"}) == 1


@pytest.mark.parametrize(("changes", "expected"), [({}, "usual"), (UNUSUAL, "unusual"), (STRANGE, "strange")])
def test_typicality_divides_latency(service: Observed, changes: dict[str, Any], expected: str) -> None:
    """The time of a prediction is told apart by how unusual its input was."""
    service.predict(changes)
    (point,) = service.telemetry.collect().points(names.PREDICTION_DURATION)
    assert point.attributes[names.TYPICALITY] == expected


def test_a_lookup_is_measured(service: Observed) -> None:
    """Looking a customer up is measured; given features need none."""
    service.predict_customer()
    service.predict()
    assert service.telemetry.collect().total(names.LOOKUP_DURATION) == 1
