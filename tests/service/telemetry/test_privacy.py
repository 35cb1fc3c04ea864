from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.telemetry.http_instrumentation import Utf8Headers
from tests.service.observed import CUSTOMER, STRANGER, Observed, captured_log, entries, observed_service, served
from tests.service.raw_http import answer, post
from tests.telemetry import attributes_of


@pytest.fixture(scope="module")
def url(running: Observed) -> Iterator[str]:
    """The address of the service behind Uvicorn: client libraries would not send some of these headers."""
    with served(running.service) as address:
        yield address


def exported(service: Observed, log: io.StringIO) -> str:
    """All spans, all measurements both ways, and the log, as text."""
    metrics = service.telemetry.collect().to_json()
    lines = entries(log)
    return f"{service.telemetry.spans_json()}\n{metrics}\n{service.client.get('/metrics').text}\n{lines}"


# --- customers' ids -----------------------------------------------------------------------------------------------


def test_an_unknown_path_is_not_exported(service: Observed) -> None:
    """A path or query that a client invents is in no span."""
    service.client.get(f"/customers/{CUSTOMER}?id={CUSTOMER}")
    attributes = attributes_of(service.telemetry.server_span())
    assert (attributes["url.path"], attributes["url.query"]) == ("/_other", "_other")


def test_an_unknown_method_is_not_exported(service: Observed) -> None:
    """An invented method is `_OTHER`, and its text is in no span."""
    service.client.request(CUSTOMER, "/model")
    assert CUSTOMER not in service.telemetry.server_span().to_json()


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
    "not as JSON": ("POST", "/predict", {"content": CUSTOMER, "headers": {"content-type": "application/json"}}),
    "as a label": ("POST", "/feedback", {"json": {"items": [{"prediction_id": CUSTOMER, "label": 1}]}}),
}


@pytest.mark.parametrize("way", WAYS_TO_SEND_AN_ID)
def test_no_customer_id_is_exported(service: Observed, way: str) -> None:
    """However a customer's id is sent, it is in no span, no metric and no log line."""
    method, path, body = WAYS_TO_SEND_AN_ID[way]
    with captured_log() as log:
        service.client.request(method, path, **body)
        text = exported(service, log)
    assert service.telemetry.spans()
    assert CUSTOMER not in text
    assert STRANGER not in text


def test_no_category_of_a_client_is_exported(service: Observed) -> None:
    """A category that training never saw is counted, but its text is exported nowhere."""
    with captured_log() as log:
        service.predict({"net_service": CUSTOMER})
        text = exported(service, log)
    assert CUSTOMER not in text


def test_no_customer_id_is_exported_during_an_outage(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The database's own error message does not bring the id into spans or log."""
    folder = tmp_path / "is-a-folder.db"
    folder.mkdir()
    with (
        captured_log() as log,
        observed_service(bundle, tmp_path, people, database=f"sqlite:///{folder}") as service,
    ):
        assert service.predict_customer().status_code == 503
        text = exported(service, log)
    assert CUSTOMER not in text


def test_the_path_of_a_websocket_is_not_logged(service: Observed, url: str) -> None:
    """An upgrade to a WebSocket, which we do not serve, does not bring its path into the log."""
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    with captured_log() as log:
        httpx2.get(f"{url}/customers/{CUSTOMER}", headers=upgrade | {"sec-websocket-key": "A" * 22 + "=="})
        text = exported(service, log)
    assert CUSTOMER not in text


# --- headers, over a real socket ----------------------------------------------------------------------------------

WAYS_TO_CLAIM = {
    "user-agent": CUSTOMER,
    "x-forwarded-for": CUSTOMER,
    "x-forwarded-proto": CUSTOMER,
    "host": CUSTOMER,
    "baggage": CUSTOMER,
    "baggage entry": f"{CUSTOMER}={CUSTOMER}",
    "tracestate": CUSTOMER,
    "x-anything": CUSTOMER,
}


@pytest.mark.parametrize("way", WAYS_TO_CLAIM)
def test_no_customer_id_of_a_header_is_exported(service: Observed, url: str, way: str) -> None:
    """Whatever a client calls itself or claims to come from is in no span, no metric and no log line."""
    header, trace = way.removesuffix(" entry").encode(), b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {b"traceparent": trace, header: WAYS_TO_CLAIM[way].encode()}
    with captured_log() as log:
        status, _ = answer(url, post("/predict", {"features": service.example}, headers))
        text = exported(service, log)
    assert (status, len(service.telemetry.server_spans())) == (200, 1)
    assert CUSTOMER not in text


def test_a_forwarded_address_is_not_trusted(service: Observed, url: str) -> None:
    """Any process on this machine could claim one: the span has the connection's own port."""
    answer(url, post("/predict", {"features": service.example}, {b"x-forwarded-for": b"203.0.113.7"}))
    assert attributes_of(service.telemetry.server_span())["client.port"] > 0


HEADERS = ["user-agent", "host", "traceparent", "tracestate", "baggage", "accept"]
NO_TEXT = {"a cut escape": b"\xff\\x", "half a pair": b"\xff\\ud800", "an unknown name": b"\xff\\N{no such}"}


@pytest.mark.parametrize("value", NO_TEXT.values(), ids=NO_TEXT)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_is_no_text_changes_nothing(service: Observed, url: str, header: str, value: bytes) -> None:
    """The prediction is answered, traced and measured like any other, and the log has no warning."""
    statuses: list[int] = []
    request = post("/predict", {"features": service.example}, {header.encode(): value})
    with captured_log() as log:
        changes = service.changes(lambda: statuses.append(answer(url, request)[0]))
    assert (statuses, changes.total(names.HTTP_REQUEST_DURATION)) == ([200], 1)
    assert attributes_of(service.telemetry.server_span())["http.response.status_code"] == 200
    assert [line for line in entries(log) if line["level"] != "INFO"] == []


def test_only_invalid_bytes_are_changed() -> None:
    """Names, order and every value in UTF-8 reach the application byte by byte."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    headers = [(b"a", b"plain"), (b"b", "ü€".encode()), (b"c", b"f\xfcr"), (b"b", b"again")]
    asyncio.run(Utf8Headers(app)({"type": "http", "headers": headers}, _never, _never))
    assert seen[0]["headers"] == [*headers[:2], (b"c", "f\N{REPLACEMENT CHARACTER}r".encode()), headers[3]]


async def _never(*_: object) -> Any:  # noqa: ANN401 (neither receives nor sends)
    raise AssertionError("this must not be called")
