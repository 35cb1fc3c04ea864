"""Clients that disconnect while they send a body or wait for answers, over a real socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.http.wired import KEPT
from tests.service.observed import CUSTOMER, Observed, captured_log, entries, observed_service, served, slow_lookups
from tests.service.processes import eventually, rows_by_id
from tests.service.raw_http import TIMEOUT_S, Wire, address, post
from tests.telemetry import Measured, attributes_of

WAYS = [
    ("/predict", b"application/json"),
    ("/predict/batch", b"application/json"),
    ("/predict", b"application/json; charset=utf-8"),
    ("/feedback", b"application/json"),
]


@dataclass
class Seen:
    """The telemetry of a client that disconnected."""

    span: ReadableSpan
    measured: Measured
    log: list[dict[str, Any]]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]} {way[1].decode()}")
def seen(
    request: pytest.FixtureRequest, bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seen]:
    """A client sends half a body and closes."""
    path, content_type = request.param
    whole = post(path, {"items": [{"user_id": "7590-VHVEG"}] * 100}, {b"content-type": content_type})
    with (
        observed_service(bundle, tmp_path_factory.mktemp("service"), people) as service,
        captured_log() as log,
        served(service.service) as url,
    ):
        with socket.create_connection(address(url), 5) as connection:
            connection.sendall(whole[: len(whole) // 2])
        assert eventually(lambda: service.telemetry.collect().total(names.HTTP_REQUEST_DURATION) == 1)
        yield Seen(service.telemetry.server_span(), service.telemetry.collect(), entries(log))


def test_a_disconnected_client_is_not_a_server_error(seen: Seen) -> None:
    """Its span is that of a client error, without an exception."""
    assert attributes_of(seen.span)["http.response.status_code"] == 400
    assert (seen.span.status.status_code, list(seen.span.events)) == (StatusCode.UNSET, [])


def test_a_disconnected_client_costs_no_error_budget(seen: Seen) -> None:
    """The availability objective counts 5xx answers; this is a 400."""
    statuses = {point.attributes[names.HTTP_STATUS] for point in seen.measured.points(names.HTTP_REQUEST_DURATION)}
    assert statuses == {400}


def test_a_disconnected_client_leaves_no_traceback(seen: Seen) -> None:
    """The log has no warning and no error."""
    assert [line for line in seen.log if line["level"] != "INFO"] == []


def test_a_disconnected_client_is_not_a_rejected_item(seen: Seen) -> None:
    """The rest of its body is unknown: no item counts as rejected."""
    assert seen.measured.total(names.REQUEST_REJECTED) == 0


# --- while it waits for answers -------------------------------------------------------------------------------------

FAST, OTHER = KEPT, {**KEPT, b"content-type": b"application/json; charset=utf-8"}


@pytest.fixture(scope="module")
def observed(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """One service; each test starts a server of its own, because the end of a server waits for its tasks."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as started:
        with served(started.service) as url, Wire(url) as wire:  # its threads start
            wire.send(post("/predict", {"user_id": CUSTOMER}, KEPT))
            assert wire.read().json["recorded"]
        assert eventually(lambda: rows_by_id(Path(started.database)).total() == 1)
        yield started


@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize(
    "pipelined",
    [[FAST, FAST, FAST], [OTHER, OTHER, OTHER], [FAST, OTHER], [OTHER, FAST]],
    ids=["fast", "application", "fast first", "application first"],
)
def test_a_client_that_pipelines_and_disconnects_leaves_no_traceback(
    observed: Observed,
    pipelined: list[dict[bytes, bytes]],
    resets: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """Whichever path answers: the log has no warning and no error, and what is recorded reaches the database."""
    customer = {"user_id": CUSTOMER}
    unfinished = post("/predict", customer)[:-5]
    rows = Path(observed.database)
    before = rows_by_id(rows).total()

    def act() -> None:
        with served(observed.service) as url, Wire(url) as wire:
            wire.send(post("/predict", customer, KEPT))
            answered.append(wire.read().json["prediction_id"])
            with slow_lookups(observed) as (begun, release):
                wire.send(b"".join([*(post("/predict", customer, headers) for headers in pipelined), unfinished]))
                assert begun.acquire(timeout=TIMEOUT_S)
                if resets:
                    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wire.__exit__()
                release.set()

    answered: list[str] = []
    with captured_log() as log:
        spooled = observed.changes(act).total(names.LOG_SPOOLED)
    assert [line for line in entries(log) if line["level"] != "INFO"] == []
    assert spooled >= 1
    assert eventually(lambda: rows_by_id(rows).total() == before + spooled)
    assert answered[0] in rows_by_id(rows)
    limits = observed.service.limits
    assert (limits.arriving, limits._on_fast_path) == (0, 0)
