"""Clients that disconnect while sending the body, over a real socket."""

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
