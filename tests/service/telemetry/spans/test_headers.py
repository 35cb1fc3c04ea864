"""Headers that are no text, over a real socket: a client library would not send them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from leeway.telemetry import names
from service.telemetry.http_instrumentation import Utf8Headers
from tests.service.observed import CUSTOMER, Observed, captured_log, entries, served
from tests.service.raw_http import answer, post
from tests.telemetry import attributes_of

HEADERS = ["user-agent", "host", "traceparent", "tracestate", "baggage", "accept"]
NO_TEXT = {"a cut escape": b"\xff\\x", "half a pair": b"\xff\\ud800", "an unknown name": b"\xff\\N{no such}"}


@pytest.mark.parametrize("value", NO_TEXT.values(), ids=NO_TEXT)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_is_no_text_is_passed_over(service: Observed, header: str, value: bytes) -> None:
    """The prediction is answered, traced and measured as any other, and the log complains of nothing."""
    body = {"features": service.example}
    with captured_log() as log, served(service.client.app) as url:
        before = service.telemetry.collect().total(names.HTTP_REQUEST_DURATION)
        status, _ = answer(url, post("/predict", body, {header.encode(): value}))
        after = service.telemetry.collect().total(names.HTTP_REQUEST_DURATION)
    assert (status, after - before) == (200, 1)
    assert attributes_of(service.telemetry.server_span())["http.response.status_code"] == 200
    assert [line for line in entries(log) if line["level"] != "INFO"] == []


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
def test_no_customer_id_of_a_header_is_told(service: Observed, way: str) -> None:
    """Whatever a client calls itself, or says of where it comes from, is in no span, no metric and no log line."""
    header, trace = way.removesuffix(" entry").encode(), b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {b"traceparent": trace, header: WAYS_TO_CLAIM[way].encode()}
    with captured_log() as log, served(service.client.app) as url:
        status, _ = answer(url, post("/predict", {"features": service.example}, headers))
        metrics = service.telemetry.collect().to_json()
    assert (status, len(service.telemetry.server_spans())) == (200, 1)
    assert CUSTOMER not in f"{service.telemetry.spans_json()}{metrics}{log.getvalue()}"


def test_a_claimed_address_is_not_believed(service: Observed) -> None:
    """Whoever comes from this machine may be anybody's proxy: the connection's own port is told, and no other."""
    with served(service.client.app) as url:
        answer(url, post("/predict", {"features": service.example}, {b"x-forwarded-for": b"203.0.113.7"}))
    assert attributes_of(service.telemetry.server_span())["client.port"] > 0


def test_only_what_is_no_text_is_changed() -> None:
    """Names, order and every value in UTF-8 reach the application byte by byte."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    headers = [(b"a", b"plain"), (b"b", "ü€".encode()), (b"c", b"f\xfcr"), (b"b", b"again")]
    asyncio.run(Utf8Headers(app)({"type": "http", "headers": headers}, _never, _never))
    assert seen[0]["headers"] == [*headers[:2], (b"c", "f\N{REPLACEMENT CHARACTER}r".encode()), headers[3]]


async def _never(*_: object) -> Any:  # noqa: ANN401 (neither receives nor sends)
    raise AssertionError("nobody was to be called")
