"""Requests that arrive too slowly, and too many at once, over real sockets."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.http.bodies import MAX_BODY_BYTES
from service.http.limits import MAX_HEAD_BYTES, RequestLimits
from tests.service.observed import CUSTOMER, Observed, observed_service, served, slow_lookups
from tests.service.processes import eventually
from tests.service.raw_http import TIMEOUT_S, Response, Wire, post

KEPT = {b"connection": b"keep-alive"}
ORDINARY = {**KEPT, b"content-type": b"application/json; charset=utf-8"}
"""Headers with which a request goes to the application."""
LIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
CLIENTS = 500


@pytest.fixture(scope="module")
def observed(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """One service for all tests of this module; its threads have started."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as service:
        with limited(service) as url:
            ask(url, post("/predict", {"features": service.example}, KEPT))
        yield service


@contextmanager
def limited(
    observed: Observed, *, timeout_s: float = 60.0, max_in_flight: int = 100, root_path: str = ""
) -> Iterator[str]:
    """Serve with these limits; yield the address."""
    limits = RequestLimits(timeout_s, max_in_flight, observed.service.limits.rejected, root_path=root_path)
    with served(replace(observed.service, limits=limits)) as url:
        yield url


def ask(url: str, request: bytes) -> Response:
    """Send one request on a connection of its own."""
    with Wire(url) as wire:
        wire.send(request)
        return wire.read()


def test_the_limits_are_settings(observed: Observed) -> None:
    """By default a request may take 20 seconds to arrive, and 512 may be in flight."""
    limits = observed.service.limits
    assert (limits.timeout_s, limits.max_in_flight) == (20, 512)


# --- slow requests ----------------------------------------------------------------------------------------------------

HALVES = {
    "half a head": b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-",
    "half a request line": b"GE",
    "half a body": post("/predict", {"user_id": CUSTOMER}, KEPT)[:-5],
    "half a batch": post("/predict/batch", {"items": [{"user_id": CUSTOMER}]}, KEPT)[:-5],
    "half a body for the application": post("/predict", {"user_id": CUSTOMER}, ORDINARY)[:-5],
    "a body that has not begun": post("/feedback", {}, KEPT)[:-2],
    "half a body behind a whole request": LIVE + post("/feedback", {}, KEPT)[:-2],
}
"""A response to what is whole may come first."""


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("after", [b"", LIVE], ids=["at first", "after an answer"])
def test_half_a_request_is_answered_408(observed: Observed, half: bytes, after: bytes) -> None:
    """The connection is closed, and its client learns why."""
    with limited(observed, timeout_s=0.2) as url, Wire(url) as wire:
        if after:
            wire.send(after)
            assert wire.read().status == 200
        wire.send(half)
        response = wire.read()
        if half.startswith(LIVE):
            assert response.status == 200
            response = wire.read()
        assert (response.status, wire.is_closed()) == (408, True)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.headers["connection"], response.json["type"]) == ("close", "urn:leeway:problem:request-timeout")


def test_a_connection_without_a_request_is_closed(observed: Observed) -> None:
    """There is no request to answer."""
    with limited(observed, timeout_s=0.2) as url, Wire(url) as wire:
        assert wire.is_closed()


@pytest.mark.parametrize("filler", [b"a" * 20_000, b"a: b\r\n" * 3_000], ids=["one header", "many headers"])
def test_a_head_without_an_end_is_answered_431(observed: Observed, filler: bytes) -> None:
    """So no client fills the memory with headers. It is measured; a head of 60,000 bytes is read."""

    def act() -> None:
        with limited(observed) as url:
            assert ask(url, LIVE.removesuffix(b"\r\n") + b"x: " + b"a" * 60_000 + b"\r\n\r\n").status == 200
            with Wire(url) as wire:
                wire.send(LIVE.removesuffix(b"\r\n") + b"x: ")
                sent = 0
                while not select.select([wire.socket], [], [], 0.05)[0]:
                    wire.send(filler)
                    sent += len(filler)
                    assert sent < 10 * MAX_HEAD_BYTES
                answered.append(wire.read())
                assert wire.is_closed()

    answered: list[Response] = []
    points = observed.changes(act).points(names.HTTP_REQUEST_DURATION)
    assert (answered[0].status, answered[0].json["type"]) == (431, "urn:leeway:problem:head-too-large")
    assert [point.attributes[names.HTTP_STATUS] for point in points] == [431]


def test_many_requests_are_no_large_head(observed: Observed) -> None:
    """Each part that arrives ends one head, brings whole requests and begins another head: all are answered."""
    each = LIVE.removesuffix(b"\r\n") + b"x: " + b"a" * 8_000 + b"\r\n\r\n"
    count = 60
    sent = each * count
    size = 9 * len(each) + 10
    assert size > MAX_HEAD_BYTES
    with limited(observed) as url, Wire(url) as wire:
        for start in range(0, len(sent), size):
            wire.send(sent[start : start + size])
        assert [wire.read().status for _ in range(count)] == [200] * count


def test_an_empty_line_does_not_keep_a_connection_open(observed: Observed) -> None:
    """It begins no request, yet ends the wait for the next one; the time limit applies to it as well."""
    with limited(observed, timeout_s=0.2) as url, Wire(url) as wire:
        wire.send(LIVE)
        assert wire.read().status == 200
        wire.send(b"\r\n")
        assert wire.is_closed()


def test_a_request_that_keeps_coming_in_parts_is_late_as_well(observed: Observed) -> None:
    """The time is that of the whole request: each part does not begin it again."""
    with limited(observed, timeout_s=0.3) as url, Wire(url) as wire:
        whole, began_s = post("/predict", {"user_id": CUSTOMER}, KEPT), time.monotonic()
        for place in range(0, len(whole) - 20, 2):
            try:
                wire.send(whole[place : place + 2])
            except OSError:
                break
            time.sleep(0.02)
        assert time.monotonic() - began_s < TIMEOUT_S


def test_an_answer_is_not_followed_by_a_408(observed: Observed) -> None:
    """A body that is too large is answered before it has arrived; a second answer would belong to no request."""
    whole = post("/predict", {}, {**KEPT, b"content-length": b"%d" % (MAX_BODY_BYTES + 1)})
    with limited(observed, timeout_s=0.3) as url, Wire(url) as wire:
        wire.send(whole)
        assert (wire.read().status, wire.is_closed()) == (413, True)


def test_an_answer_may_take_longer_than_a_request(observed: Observed) -> None:
    """The limit is for what the client sends: a slow lookup does not end it, nor does a request pipelined behind it."""
    with limited(observed, timeout_s=0.5) as url, slow_lookups(observed) as (_, release), Wire(url) as wire:
        threading.Timer(0.8, release.set).start()
        wire.send(post("/predict", {"user_id": CUSTOMER}, KEPT) + LIVE[:10])
        assert wire.read().status == 200
        wire.send(LIVE[10:])
        assert wire.read().status == 200


def test_a_broken_request_gets_no_408_in_the_place_of_an_answer(observed: Observed) -> None:
    """The request before it takes longer than a request may take to arrive, and is answered."""
    broken = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    with limited(observed, timeout_s=0.3) as url, slow_lookups(observed) as (_, release), Wire(url) as wire:
        threading.Timer(0.6, release.set).start()
        wire.send(post("/predict", {"user_id": CUSTOMER}, KEPT) + broken)
        assert (wire.read().status, wire.is_closed()) == (200, True)


def test_a_rejected_request_is_measured(observed: Observed) -> None:
    """A 408 counts among the answers, with its status, and as one request."""

    def reject() -> None:
        with limited(observed, timeout_s=0.2) as url:
            for half in ("half a head", "half a body"):
                assert ask(url, HALVES[half]).status == 408

    points = observed.changes(reject).points(names.HTTP_REQUEST_DURATION)
    assert sorted((point.attributes[names.HTTP_STATUS], point.count) for point in points) == [(408, 1), (408, 1)]


def test_half_sent_requests_do_not_keep_others_out(observed: Observed) -> None:
    """Beside 500 clients that each send half a request, good ones are answered at once, on both paths."""
    halves = list(HALVES.values())
    with limited(observed, max_in_flight=50) as url, ExitStack() as stack:
        for number in range(CLIENTS):
            stack.enter_context(Wire(url)).send(halves[number % len(halves)])
        for headers in (KEPT, ORDINARY):
            began_s = time.monotonic()
            assert ask(url, post("/predict", {"features": observed.example}, headers)).status == 200
            assert time.monotonic() - began_s < TIMEOUT_S / 2


# --- too many requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [KEPT, ORDINARY], ids=["fast path", "application"])
def test_more_requests_than_the_limit_are_answered_503(observed: Observed, headers: dict[bytes, bytes]) -> None:
    """Each says when to come back; what is in flight is answered, and then there is room again."""
    by_customer = post("/predict", {"user_id": CUSTOMER}, headers)
    with (
        limited(observed, max_in_flight=2) as url,
        slow_lookups(observed) as (begun, release),
        Wire(url) as first,
        Wire(url) as second,
        Wire(url) as third,
    ):
        for wire in (first, second):
            wire.send(by_customer)
            assert begun.acquire(timeout=TIMEOUT_S)
        for request in (by_customer, post("/predict/batch", {"items": []}, headers), post("/feedback", {}, headers)):
            third.send(request)
            rejected = third.read()
            assert (rejected.status, rejected.headers["retry-after"]) == (503, "1")
            assert (rejected.headers["content-type"], rejected.json["status"]) == ("application/problem+json", 503)
        third.send(LIVE)
        assert third.read().status == 200
        release.set()
        assert [wire.read().status for wire in (first, second)] == [200, 200]
        assert eventually(lambda: ask(url, by_customer).status == 200)


def test_what_is_not_http_is_rejected_after_a_503(observed: Observed) -> None:
    """The limit was reached while the request's body arrived; no answer to it is still to come."""
    whole = post("/predict", {"user_id": CUSTOMER}, KEPT)
    with full(observed) as url, Wire(url) as wire:
        wire.send(post("/feedback", {}, KEPT))
        assert wire.read().status == 503
        wire.send(b"\x00\r\n\r\n")
        assert (wire.read().status, wire.is_closed()) == (400, True)
    with (
        limited(observed, max_in_flight=1) as url,
        slow_lookups(observed) as (begun, _),
        Wire(url) as first,
        Wire(url) as second,
    ):
        second.send(whole[:20], whole[20:-5])
        first.send(whole)
        assert begun.acquire(timeout=TIMEOUT_S)
        second.send(whole[-5:])
        assert second.read().status == 503
        second.send(b"\x00\r\n\r\n")
        assert (second.read().status, second.is_closed()) == (400, True)


@contextmanager
def full(observed: Observed, root_path: str = "") -> Iterator[str]:
    """Yield the address of a service whose limit is reached."""
    with (
        limited(observed, max_in_flight=1, root_path=root_path) as url,
        slow_lookups(observed) as (begun, _),
        Wire(url) as wire,
    ):
        wire.send(post("/predict", {"user_id": CUSTOMER}, KEPT))
        assert begun.acquire(timeout=TIMEOUT_S)
        yield url


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/health/live", 200),
        (b"/health/live?x=1", 200),
        (b"/leeway/health/live", 200),
        (b"/docs?/health/live", 503),
        (b"/x/health/live", 503),
    ],
)
def test_health_is_told_above_the_limit_and_nothing_else(observed: Observed, target: bytes, status: int) -> None:
    """The path decides, with and without the prefix of a proxy; what follows it does not."""
    with full(observed, root_path="/leeway") as url:
        rejected = ask(url, LIVE.replace(b"/health/live", target))
        assert (rejected.status == 503) is (status == 503)


def test_a_rejected_head_has_no_body(observed: Observed) -> None:
    """The connection continues with the next response, which a body would have hidden."""
    with full(observed) as url, Wire(url) as wire:
        wire.send(b"HEAD /docs HTTP/1.1\r\nhost: x\r\n\r\n")
        assert wire.read(has_body=False).status == 503
        wire.send(LIVE)
        assert wire.read().status == 200


def test_requests_that_arrive_slowly_meet_the_limit_when_they_are_whole(observed: Observed) -> None:
    """Many halves may arrive below the limit; of what becomes whole, no more is accepted than there is room for."""
    whole = post("/predict", {"user_id": CUSTOMER}, KEPT)
    with (
        limited(observed, max_in_flight=1) as url,
        slow_lookups(observed) as (begun, release),
        Wire(url) as first,
        Wire(url) as second,
    ):
        for wire in (first, second):
            wire.send(whole[:20], whole[20:-5])  # in parts, so that the server has read them
        first.send(whole[-5:])
        assert begun.acquire(timeout=TIMEOUT_S)
        second.send(whole[-5:])
        assert second.read().status == 503
        release.set()
        assert first.read().status == 200


def test_a_client_that_does_not_read_rejections_is_disconnected(observed: Observed) -> None:
    """Responses that the client does not read do not fill the memory."""
    with full(observed) as url, Wire(url) as wire:
        wire.socket.settimeout(TIMEOUT_S)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            wire.socket.sendall(post("/predict", {}, KEPT) * 200_000)


def test_a_request_that_is_too_many_counts_against_the_objective(observed: Observed) -> None:
    """It is measured with its route and status, so the availability of `/predict` includes it."""

    def reject() -> None:
        with full(observed, root_path="/leeway") as url:
            for target in ("/predict", "/leeway/predict"):
                assert ask(url, post(target, {"features": observed.example}, KEPT)).status == 503

    points = observed.changes(reject).points(names.HTTP_REQUEST_DURATION)
    (rejected,) = [point for point in points if point.attributes[names.HTTP_STATUS] == 503]
    assert rejected.attributes == {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/predict", names.HTTP_STATUS: 503}
    assert rejected.count == 2


def test_lost_clients_leave_room(observed: Observed) -> None:
    """What was in flight for a client that has gone, or half arrived, counts no longer."""
    with limited(observed, max_in_flight=2) as url:
        for half in HALVES.values():
            for _ in range(3):
                with Wire(url) as wire:
                    wire.send(half)
        assert eventually(lambda: ask(url, post("/predict", {"features": observed.example}, KEPT)).status == 200)
