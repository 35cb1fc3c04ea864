"""The fast path over real sockets: what it takes, what it leaves to the application, and that both answer in order."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.store.record import SYNTHETIC_HEADER
from service.http.bodies import MAX_BODY_BYTES
from service.http.protocol import MAX_FAST_BODY_BYTES
from tests.service.http.wired import KEPT, Wired, wired_service
from tests.service.observed import CUSTOMER, STRANGER, captured_log, entries
from tests.service.raw_http import Wire, post


@pytest.fixture(scope="module")
def service(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    """One service for all tests of this module."""
    with wired_service(bundle, people, tmp_path_factory.mktemp("service")) as started:
        yield started


# --- what it takes ------------------------------------------------------------------------------------------------


def test_a_valid_request_is_answered_below_asgi(service: Wired) -> None:
    """The response is complete, recorded, and as the application's: the same headers and the same members."""
    fast = service.ask(post("/predict", service.example, KEPT), fast=True)
    other = service.ask(
        post("/predict", service.example, {**KEPT, b"content-type": b"application/json; charset=utf-8"}), fast=False
    )
    assert (fast.status, fast.headers.keys()) == (other.status, other.headers.keys())
    assert list(fast.json) == list(other.json)
    assert fast.json["recorded"] is True
    assert fast.json["probability"] == other.json["probability"]


def test_a_customer_is_looked_up(service: Wired) -> None:
    """A request by `user_id` is answered with the customer's snapshot."""
    found = service.ask(post("/predict", {"user_id": CUSTOMER}, KEPT), fast=True).json
    assert (found["user_id"], found["as_of"]) == (CUSTOMER, "2026-01-31")


def test_a_batch_is_answered_below_asgi(service: Wired) -> None:
    """Items that cannot be answered have an error; the response is that of the application."""
    items = [service.example, {"user_id": CUSTOMER}, {"user_id": STRANGER}]
    fast = service.ask(post("/predict/batch", {"items": items}, KEPT), fast=True)
    other = service.ask(
        post("/predict/batch", {"items": items}, {**KEPT, b"content-type": b"application/json; charset=utf-8"}),
        fast=False,
    )
    assert (fast.status, fast.headers.keys()) == (other.status, other.headers.keys())
    assert [each.get("recorded") for each in fast.json["results"]] == [True, True, None]
    assert fast.json["results"][2]["error"].keys() == other.json["results"][2]["error"].keys()
    assert fast.json["results"][2]["error"]["trace_id"] is not None


def test_a_batch_of_a_thousand_is_answered_below_asgi(service: Wired) -> None:
    """Its body arrives in many parts, and each item gets its own answer."""
    hours = [float(number % 300) for number in range(1_000)]
    items = [{"features": service.observed.example | {"watch_hours_30d": each}} for each in hours]
    found = service.ask(post("/predict/batch", {"items": items}, KEPT), fast=True).json["results"]
    assert [each["features_used"]["watch_hours_30d"] for each in found] == hours


def test_an_invalid_batch_is_explained(service: Wired) -> None:
    """What the reader rejects is answered by the application, item by item."""
    items = [service.example, {"features": service.observed.example | {"watch_hours_30d": "many"}}]
    with Wire(service.url) as wire:
        wire.send(post("/predict/batch", {"items": items}, KEPT))
        found = wire.read().json["results"]
    assert [("error" in each) for each in found] == [False, True]


def test_a_body_may_arrive_in_parts(service: Wired) -> None:
    """Head and body split at any place make one request."""
    whole = post("/predict", service.example, KEPT)
    for place in (1, 20, whole.index(b"\r\n\r\n") + 2, len(whole) - 30, len(whole) - 1):
        with Wire(service.url) as wire:
            wire.send(whole[:place], whole[place:])
            assert wire.read().json["recorded"] is True


def test_a_chunked_body_is_one_body(service: Wired) -> None:
    """`Transfer-Encoding: chunked` is understood."""
    body = json.dumps(service.example).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]))
    assert service.ask(head + chunks + b"0\r\n\r\n", fast=True).status == 200


def test_a_connection_is_kept(service: Wired) -> None:
    """Many requests of both paths go over one connection."""
    with Wire(service.url) as wire:
        for _ in range(3):
            wire.send(post("/predict", service.example, KEPT))
            assert wire.read().status == 200
            wire.send(post("/predict", {"user_id": STRANGER}, KEPT))
            assert wire.read().status == 404


def test_pipelined_requests_are_answered_in_order(service: Wired) -> None:
    """Requests that are sent at once, of both paths, valid or not, are answered in their order."""
    requests = [
        post("/predict", service.example, KEPT),
        post("/predict", {"user_id": STRANGER}, KEPT),
        post("/predict", {"user_id": CUSTOMER}, KEPT),
        post("/predict", {}, KEPT),
        b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n",
        post("/predict", service.example, KEPT),
    ]
    with Wire(service.url) as wire:
        wire.send(b"".join(requests))
        found = [wire.read() for _ in requests]
    assert [each.status for each in found] == [200, 404, 200, 422, 200, 200]
    assert [found[place].json["user_id"] for place in (0, 2, 5)] == [None, CUSTOMER, None]


def test_concurrent_requests_get_their_own_answers(service: Wired) -> None:
    """Requests that share a call of the model get their own scores, ids and traces."""
    changes = [{"watch_hours_30d": float(hours)} for hours in range(0, 400, 20)]
    wires = [Wire(service.url) for _ in changes]
    for wire, change in zip(wires, changes, strict=True):
        wire.send(post("/predict", {"features": service.observed.example | change}, KEPT))
    found = [wire.read().json for wire in wires]
    for wire in wires:
        wire.__exit__()
    alone = [service.observed.predict(change).json()["probability"] for change in changes]
    assert [each["features_used"]["watch_hours_30d"] for each in found] == [each["watch_hours_30d"] for each in changes]
    assert [each["probability"] for each in found] == pytest.approx(alone, abs=1e-6)
    assert len({each["prediction_id"] for each in found}) == len({each["trace_id"] for each in found}) == len(changes)


def test_40_0_is_an_integer_here_too(service: Wired) -> None:
    """A client that sends 40.0 for an integer is answered on the fast path."""
    name = next(each.name for each in service.observed.service.predictor.bundle.schema if each.kind == "integer")
    body = {"features": service.observed.example | {name: 40.0}}
    assert service.ask(post("/predict", body, KEPT), fast=True).json["features_used"][name] == 40


# --- what it leaves to the application ------------------------------------------------------------------------------


def test_invalid_bodies_are_explained(service: Wired) -> None:
    """What the fast path cannot read is explained by the application."""
    expected = {b"{": 400, b"[]": 422, b"{}": 422, b'{"user_id": ""}': 422, b"": 422}
    for body, status in expected.items():
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        assert service.ask(head % len(body) + body, fast=False).status == status


@pytest.mark.parametrize(
    "headers",
    [
        {b"content-type": b"application/json; charset=utf-8"},
        {b"content-type": b"APPLICATION/JSON"},
        {SYNTHETIC_HEADER.encode(): b"true"},
        {b"content-encoding": b"identity"},
        {b"connection": b"close"},
        {b"x-name": "Zoë".encode()},
    ],
    ids=str,
)
def test_headers_with_a_meaning_go_to_the_application(service: Wired, headers: dict[bytes, bytes]) -> None:
    """Requests with these headers are answered, but not on the fast path."""
    assert service.ask(post("/predict", service.example, {**KEPT, **headers}), fast=False).status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [("/predict?x=1", 200), ("/%70redict", 200), ("/predict/", 404), ("//predict", 404), ("/predicts", 404)],
)
def test_other_targets_go_to_the_application(service: Wired, target: str, status: int) -> None:
    """Only the exact path is taken."""
    assert service.ask(post(target, service.example, KEPT), fast=False).status == status


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 204), (b"HEAD", 405), (b"PUT", 405)])
def test_other_methods_go_to_the_application(service: Wired, method: bytes, status: int) -> None:
    """Only `POST` is taken, whatever the body."""
    request = post("/predict", service.example, KEPT).replace(b"POST", method, 1)
    assert service.ask(request, fast=False).status == status


def test_a_compressed_body_is_read(service: Wired) -> None:
    """The application decompresses it."""
    body = gzip.compress(json.dumps(service.example).encode())
    whole = post("/predict", {}, {**KEPT, b"content-encoding": b"gzip", b"content-length": b"%d" % len(body)})
    assert service.ask(whole.removesuffix(b"{}") + body, fast=False).json["recorded"] is True


def test_expect_100_continue_is_answered(service: Wired) -> None:
    """A client that waits for `100 Continue` gets it before it sends its body."""
    whole = post("/predict", service.example, {**KEPT, b"expect": b"100-continue"})
    head, _, body = whole.partition(b"\r\n\r\n")
    with Wire(service.url) as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.read().status == 100
        wire.send(body)
        assert wire.read().status == 200


def test_http_1_0_is_answered_and_closed(service: Wired) -> None:
    """A client of HTTP/1.0 gets its answer, and the connection is closed."""
    with Wire(service.url) as wire:
        wire.send(post("/predict", service.example).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (wire.read().status, wire.is_closed()) == (200, True)


def test_connection_close_is_honoured(service: Wired) -> None:
    """The last request of a connection says so, and the connection is closed after its answer."""
    with Wire(service.url) as wire:
        wire.send(post("/predict", service.example, KEPT))
        assert "connection" not in wire.read().headers
        wire.send(post("/predict", service.example, {b"connection": b"close"}))
        assert (wire.read().headers["connection"], wire.is_closed()) == ("close", True)


@pytest.mark.parametrize("size", [MAX_FAST_BODY_BYTES, MAX_FAST_BODY_BYTES + 1, MAX_BODY_BYTES + 1])
def test_a_long_body_meets_the_limit_of_the_application(service: Wired, size: int) -> None:
    """A body that is longer than any prediction is rejected as invalid, and one over the limit as too large."""
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
    with Wire(service.url) as wire:
        wire.send(head, b" " * 1_000)
        if size <= MAX_BODY_BYTES:
            wire.send(b" " * (size - 1_000))
        assert wire.read().status == (400 if size <= MAX_BODY_BYTES else 413)


def chunked(path: str, body: bytes, trailers: bytes = b"") -> bytes:
    """A request whose body comes in chunks of one byte."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n" + trailers + b"\r\n"


def test_a_body_in_many_parts_takes_time_in_proportion(service: Wired) -> None:
    """A body of the largest size in chunks of one byte does not keep others waiting: no part is copied repeatedly."""
    body = json.dumps({"items": [service.example]}).encode()
    padded = body + b" " * (MAX_BODY_BYTES - len(body))
    with Wire(service.url) as wire, Wire(service.url) as other:
        sender = threading.Thread(target=wire.socket.sendall, args=[chunked("/predict/batch", padded)])
        sender.start()
        other.send(post("/predict", service.example, KEPT))
        assert other.read().status == 200
        wire.socket.settimeout(60)
        assert wire.read().status == 200
        sender.join()


def test_trailers_are_not_headers(service: Wired) -> None:
    """What follows a chunked body cannot change what the request means, on either path."""
    trailers = b"traceparent: 00-%b-%b-01\r\n%b: true\r\n" % (b"a" * 32, b"b" * 16, SYNTHETIC_HEADER.encode())
    whole = chunked("/predict", json.dumps(service.example).encode(), trailers)
    for request, fast in ((whole, True), (whole.replace(b"/json", b"/json; charset=utf-8", 1), False)):
        response = service.ask(request, fast=fast)
        assert (response.status, response.json["recorded"]) == (200, True)
        assert response.json["trace_id"] != "a" * 32


BROKEN = {
    "bytes": b"\x00\r\n\r\n",
    "method": b"BREW /predict HTTP/1.1\r\n\r\n",
    "target": b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "chunk": chunked("/predict", b"")[:-5] + b"zz\r\n",
    "application's chunk": chunked("/feedback", b"")[:-5] + b"zz\r\n",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_what_is_not_http_is_rejected(service: Wired, broken: str, is_first: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """With a problem document, also after another request; then the connection is closed."""
    with Wire(service.url) as wire:
        if not is_first:
            wire.send(post("/predict", service.example, KEPT))
            wire.read()
        wire.send(BROKEN[broken])
        response = wire.read()
        assert (response.status, response.json["type"]) == (400, "urn:leeway:problem:malformed-http")
        assert (response.headers["connection"], wire.is_closed()) == ("close", True)


@pytest.mark.parametrize("content_type", [b"application/json", b"application/json; charset=utf-8"])
def test_what_is_not_http_is_not_taken_for_an_earlier_answer(service: Wired, content_type: bytes) -> None:
    """A request that waits for its answer gets it, with the end of the connection."""
    for broken in ("bytes", "method"):
        with Wire(service.url) as wire:
            wire.send(post("/predict", service.example, {**KEPT, b"content-type": content_type}) + BROKEN[broken])
            response = wire.read()
            assert (response.status, response.json["recorded"]) == (200, True)
            assert (response.headers["connection"], wire.is_closed()) == ("close", True)


JAVA = {
    b"connection": b"Upgrade, HTTP2-Settings",
    b"upgrade": b"h2c",
    b"http2-settings": b"AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}


def test_the_offer_of_another_protocol_is_ignored(service: Wired) -> None:
    """Java's client offers HTTP/2 with each request; each is answered with its body read, and nothing is logged."""
    other = {**JAVA, b"content-type": b"application/json; charset=utf-8"}
    single, batch = service.example, {"items": [service.example]}
    requests = [
        post("/predict", single, JAVA),
        post("/predict", single, other),
        post("/predict/batch", batch, JAVA),
        chunked("/predict", json.dumps(single).encode()).replace(
            b"\r\n", b"\r\nconnection: upgrade\r\nupgrade: x\r\n", 1
        ),
        post("/predict", single, KEPT),
    ]
    with captured_log() as log, Wire(service.url) as wire:
        for request in requests:
            wire.send(request[:40], request[40:-9], request[-9:])
            assert wire.read().status == 200
        wire.send(b"".join(requests))
        assert [wire.read().status for _ in requests] == [200] * len(requests)
    assert [line for line in entries(log) if line["level"] != "INFO"] == []


def test_a_client_that_does_not_read_is_not_served_further(service: Wired) -> None:
    """A client that does not read its answers cannot fill the memory: the server stops reading from it."""
    request = post("/predict", service.example, KEPT)
    service.taken.clear()
    with Wire(service.url) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        wire.socket.settimeout(1.0)
        sent_bytes, limit_bytes = 0, 20_000 * len(request)
        with suppress(TimeoutError):
            while sent_bytes < limit_bytes:
                sent_bytes += wire.socket.send(request * 10)
    assert sent_bytes < limit_bytes
