"""The application, and the limit of a request body."""

from __future__ import annotations

import asyncio
import doctest
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from leeway.schema import Value
from leeway.store.predictions import PredictionLog
from leeway.store.snapshots import Snapshots
from service import app as app_module
from service.core.feedback import Feedback
from service.core.predictor import Predictor
from service.core.recording import Recorder
from service.http.bodies import MAX_BODY_BYTES
from service.http.problems import MEDIA_TYPE
from service.telemetry.probe import PredictionProbe
from tests.fakes import Service

Example = dict[str, Value]


def test_a_body_of_a_mebibyte_is_accepted(service: Service) -> None:
    """The limit itself is within the limit."""
    body = b'{"user_id": "7590-VHVEG"}'.ljust(MAX_BODY_BYTES)

    assert service.post_raw("/predict", body).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback", "/nothing"])
def test_a_larger_body_is_413(service: Service, path: str) -> None:
    """One byte more is rejected, at every path."""
    assert service.post_raw(path, b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_larger_body_in_pieces_is_413(service: Service) -> None:
    """A body without a content length is rejected, too."""

    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 2**16

    response = service.post_raw("/predict", pieces())

    assert (response.status_code, response.headers["content-type"]) == (413, MEDIA_TYPE)


class Wire:
    """The server's end of one request to `/predict`: an endless body in pieces of 64 KiB."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.pieces_read = 0
        self.sent: list[dict[str, Any]] = []
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/predict",
            "raw_path": b"/predict",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }

    async def receive(self) -> dict[str, Any]:
        """The next piece."""
        self.pieces_read += 1
        return {"type": "http.request", "body": b" " * 2**16, "more_body": True}

    async def send(self, message: Any) -> None:  # noqa: ANN401 (ASGI's message)
        """Keep what is sent."""
        self.sent.append(message)

    def answer(self, service: Service) -> tuple[int, dict[str, Any]]:
        """Let the service answer; the status and the body."""
        asyncio.run(service.app(self.scope, self.receive, self.send))
        return self.sent[0]["status"], json.loads(self.sent[1]["body"])


def test_a_body_with_too_great_a_content_length_is_not_read(service: Service) -> None:
    """With a content length the body is rejected before it is read."""
    wire = Wire((b"content-length", b"%d" % (MAX_BODY_BYTES + 1)))

    status, problem = wire.answer(service)

    assert (status, problem["status"], wire.pieces_read) == (413, 413, 0)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")], [(b"content-length", b"9" * 5_000)]])
def test_an_endless_body_is_not_read_to_its_end(service: Service, headers: list[tuple[bytes, bytes]]) -> None:
    """Without a content length, or with a wrong one, reading ends just beyond the limit."""
    wire = Wire(*headers)

    status, _ = wire.answer(service)

    assert (status, wire.pieces_read) == (413, 17)


def test_the_docstrings_example_works(service: Service) -> None:
    """The docstring of `create_app` shows its use."""
    probe, log = PredictionProbe(), PredictionLog(service.engine, service.tables)
    recorder = Recorder(service.spool, probe, required=True)
    parts = {
        "bundle": service.bundle,
        "predictor": Predictor(service.bundle, Snapshots(service.engine, service.tables), recorder, probe),
        "feedback": Feedback(log),
        "TestClient": TestClient,
    }
    assert doctest.testmod(app_module, extraglobs=parts) == (0, 4)
