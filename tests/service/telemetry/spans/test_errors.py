from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.onnx import OnnxScorer
from tests.service.observed import STRANGER, Observed, broken, observed_service
from tests.telemetry import attributes_of, trace_id


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
