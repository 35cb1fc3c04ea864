"""The fast path over real sockets: failures, clients that disconnect, and the end of the service."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.http.fast_path import HttpRequest
from service.spool.spool import SpoolError
from tests.service.http.wired import KEPT, Wired, wired_service
from tests.service.observed import CUSTOMER, observed_service, served, slow_lookups
from tests.service.processes import eventually
from tests.service.raw_http import TIMEOUT_S, Response, Wire, patched, post


@pytest.fixture(scope="module")
def service(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    """One service for all tests of this module."""
    with wired_service(bundle, people, tmp_path_factory.mktemp("service")) as started:
        yield started


def scorer_that_fails_on(bundle: Bundle, is_bad: Callable[[Any], bool]) -> Any:  # noqa: ANN401 (a scorer)
    """The bundle's scorer, which raises an error for a call with any row that `is_bad`."""
    scorer = bundle.scorer

    class Failing:
        def score(self, encoded: Any) -> Any:  # noqa: ANN401 (as the real one)
            if any(is_bad(row) for row in encoded.numbers):
                raise RuntimeError("the model broke")
            return scorer.score(encoded)

    return Failing()


def ask_at_once(service: Wired, bodies: list[Any]) -> list[Response]:
    """Send requests over as many connections before the server turns to any of them."""
    wires = [Wire(service.url) for _ in bodies]
    try:
        for wire, body in zip(wires, bodies, strict=True):
            wire.send(post("/predict", body, KEPT))
        return [wire.read() for wire in wires]
    finally:
        for wire in wires:
            wire.__exit__()


def test_only_the_culprit_of_a_failed_call_gets_an_error(service: Wired) -> None:
    """One bad row among good ones: 500 for it, with its own ERROR span and exception event; answers for the others."""
    predictor = service.observed.service.predictor
    bundle = predictor.bundle
    place = bundle.encoder.number_names.index("watch_hours_30d")
    failing = scorer_that_fails_on(bundle, lambda row: row[place] == 123)
    bodies = [{"features": service.observed.example | {"watch_hours_30d": float(hours)}} for hours in (1, 123, 2)]
    service.observed.telemetry.forget_spans()
    with patched(bundle, "scorer", failing):
        found = ask_at_once(service, bodies)
    assert [each.status for each in found] == [200, 500, 200]
    assert eventually(lambda: any(span.events for span in service.observed.telemetry.server_spans()))
    errors = [span for span in service.observed.telemetry.server_spans() if span.events]
    assert [format(span.context.trace_id, "032x") for span in errors if span.context] == [found[1].json["trace_id"]]
    assert [event.name for event in errors[0].events] == ["exception"]


def test_a_failed_batch_is_answered_by_the_application(service: Wired) -> None:
    """It gets a 500 with one ERROR span; nothing of the first try is left in the telemetry."""
    predictor = service.observed.service.predictor
    service.observed.telemetry.forget_spans()
    with patched(predictor.bundle, "scorer", scorer_that_fails_on(predictor.bundle, lambda _: True)):
        response = service.ask(post("/predict/batch", {"items": [service.example]}, KEPT), fast=True)
    assert response.status == 500
    assert eventually(lambda: len(service.observed.telemetry.server_spans()) == 1)
    (span,) = service.observed.telemetry.spans()
    assert span.context is not None
    assert format(span.context.trace_id, "032x") == response.json["trace_id"]


def test_an_answer_that_cannot_be_written_leaves_the_others_alone(service: Wired) -> None:
    """One response of a batch fails: it is answered by the application, the others as usual, and none hangs."""
    fast_path = service.observed.service.fast_path
    respond = fast_path._response  # type: ignore[union-attr]

    def failing(prediction: Any) -> Any:  # noqa: ANN401 (as the real one)
        if prediction.record.features[-1] == 1 or 123.0 in prediction.record.features:
            raise RuntimeError("cannot be written")
        return respond(prediction)

    bodies = [{"features": service.observed.example | {"watch_hours_30d": float(hours)}} for hours in (1, 123, 2)]
    with patched(fast_path, "_response", failing):
        found = ask_at_once(service, bodies)
    assert [each.status for each in found] == [200, 200, 200]


def test_a_batch_of_a_client_that_has_gone_is_not_scored(service: Wired) -> None:
    """Its prediction would be recorded, though nobody gets it."""
    fast_path = service.observed.service.fast_path
    assert fast_path is not None

    class Gone(HttpRequest):
        """A request whose client has disconnected."""

        is_open = False
        abandoned = 0

        def abandon(self) -> None:
            """Count."""
            Gone.abandoned += 1

        def answer_alone(self) -> None:
            """Not expected."""
            raise AssertionError

        def respond(self, body: bytes) -> None:
            """Not expected."""
            raise AssertionError(body)

    gone = Gone()
    gone.body = bytearray(json.dumps({"items": [service.example]}).encode())
    changes = service.observed.changes(lambda: asyncio.run(fast_path._answer_batch(gone)))
    assert (Gone.abandoned, changes.total(names.LOG_SPOOLED)) == (1, 0)


def test_spans_that_wait_keep_no_body(service: Wired) -> None:
    """Telemetry keeps what happened until it is sent, but neither bodies nor connections."""
    for path, body in (("/predict", service.example), ("/predict/batch", {"items": [service.example]})):
        assert service.ask(post(path, body, KEPT), fast=True).status == 200
        (request,) = service.taken
        assert not any(hasattr(request, name) for name in ("body", "headers", "_protocol"))


def test_what_cannot_be_recorded_says_so(service: Wired) -> None:
    """A failed write is repeated one by one: each answer tells whether it was recorded; the loss is counted once."""
    recorder = service.observed.service.predictor.recorder

    class Full:
        def append(self, records: Any) -> None:  # noqa: ANN401 (as the real one)
            if len(records) > 1 or records[0].features == tuple(service.observed.example.values()):
                raise SpoolError("the disk is full")

    found: list[Response] = []
    bodies = [service.example, {"features": service.observed.example | {"watch_hours_30d": 1.0}}]
    with patched(recorder, "_sink", Full()):
        changes = service.observed.changes(lambda: found.extend(ask_at_once(service, bodies)))
    assert [(each.status, each.json["recorded"]) for each in found] == [(200, False), (200, True)]
    assert changes.total(names.LOG_UNRECORDED) == 1


def test_a_fault_turns_the_fast_path_off(service: Wired) -> None:
    """While a fault is active each request meets it by its own chance, on the ordinary path."""
    service.observed.client.put(
        "/faults", json={"errors": {"probability": 1.0}, "seconds": 60}, headers={"host": "localhost"}
    ).raise_for_status()
    try:
        assert service.ask(post("/predict", service.example, KEPT), fast=False).status == 500
        with httpx2.Client(base_url=service.url) as client:  # no request goes to a connection that is being closed
            assert {client.post("/predict", json=service.example).status_code for _ in range(50)} == {500}
            assert client.post("/predict", json=service.example).headers["connection"] == "close"
    finally:
        service.observed.client.delete("/faults", headers={"host": "localhost"}).raise_for_status()
    assert service.ask(post("/predict", service.example, KEPT), fast=True).status == 200


# --- the end of a service -------------------------------------------------------------------------------------------


def test_what_waits_is_answered_before_the_end(
    bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A stop while a lookup runs: the request is answered, its connection closed, and an idle one as well."""
    with (
        observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed,
        slow_lookups(observed) as (begun, release),
    ):
        with served(observed.service) as url:
            wire, idle = Wire(url), Wire(url)
            wire.send(post("/predict", {"user_id": CUSTOMER}, KEPT))
            assert begun.acquire(timeout=TIMEOUT_S)
            threading.Timer(0.3, release.set).start()
        with wire, idle:
            response = wire.read()
            assert (response.status, response.json["recorded"]) == (200, True)
            assert (response.headers["connection"], wire.is_closed(), idle.is_closed()) == ("close", True, True)
