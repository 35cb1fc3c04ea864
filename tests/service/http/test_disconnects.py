"""Clients that go away in mid-body, over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.observed import captured_log, entries, observed_service, served
from tests.service.processes import eventually
from tests.service.raw_http import address, post
from tests.telemetry import Measured, attributes_of

WAYS = [
    ("/predict", b"application/json"),
    ("/predict/batch", b"application/json"),
    ("/predict", b"application/json; charset=utf-8"),
    ("/feedback", b"application/json"),
]


@dataclass
class Told:
    """What the service told of a client that went away."""

    span: ReadableSpan
    measured: Measured
    log: list[dict[str, Any]]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]} {way[1].decode()}")
def told(
    request: pytest.FixtureRequest, bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    """A client sends half a body and closes."""
    path, content_type = request.param
    whole = post(path, {"items": [{"user_id": "7590-VHVEG"}] * 100}, {b"content-type": content_type})
    with (
        observed_service(bundle, tmp_path_factory.mktemp("service"), people) as service,
        captured_log() as log,
        served(service.client.app) as url,
    ):
        with socket.create_connection(address(url), 5) as connection:
            connection.sendall(whole[: len(whole) // 2])
        assert eventually(lambda: service.telemetry.collect().total(names.HTTP_REQUEST_DURATION) == 1)
        yield Told(service.telemetry.server_span(), service.telemetry.collect(), entries(log))


def test_a_client_that_went_away_is_no_error_of_ours(told: Told) -> None:
    """Its span is that of a client's error, without an exception."""
    assert attributes_of(told.span)["http.response.status_code"] == 400
    assert (told.span.status.status_code, list(told.span.events)) == (StatusCode.UNSET, [])


def test_a_client_that_went_away_costs_no_budget(told: Told) -> None:
    """The availability objective counts 5xx answers: this is none."""
    statuses = {point.attributes[names.HTTP_STATUS] for point in told.measured.points(names.HTTP_REQUEST_DURATION)}
    assert statuses == {400}


def test_a_client_that_went_away_leaves_no_traceback(told: Told) -> None:
    """The log is for what somebody must look at."""
    assert [line for line in told.log if line["level"] != "INFO"] == []


def test_a_client_that_went_away_sent_nothing_bad(told: Told) -> None:
    """Nobody knows what it would have sent: no item counts as refused, and quality is judged without it."""
    assert told.measured.total(names.REQUEST_REJECTED) == 0
