from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import CUSTOMER, STRANGER, Observed, captured_log, entries, observed_service, served
from tests.telemetry import attributes_of


def test_a_path_that_nobody_serves_is_not_kept(service: Observed) -> None:
    """What a client invents as a path or a query goes into no span."""
    service.client.get(f"/customers/{CUSTOMER}?id={CUSTOMER}")
    attributes = attributes_of(service.telemetry.server_span())
    assert (attributes["url.path"], attributes["url.query"]) == ("/_other", "_other")


def test_a_method_that_nobody_knows_is_not_kept(service: Observed) -> None:
    """An invented method is `_OTHER`, and its text goes into no span."""
    service.client.request(CUSTOMER, "/model")
    assert CUSTOMER not in service.telemetry.server_span().to_json()


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


def test_a_websocket_asked_for_is_not_logged_with_its_address(service: Observed) -> None:
    """An upgrade to a WebSocket, which we do not serve, does not bring its path into the log."""
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    with captured_log() as log, served(service.client.app) as url:
        httpx2.get(f"{url}/customers/{CUSTOMER}", headers=upgrade | {"sec-websocket-key": "A" * 22 + "=="})
    assert [line for line in entries(log) if CUSTOMER in str(line) and line["logger"] != "httpx2"] == []
