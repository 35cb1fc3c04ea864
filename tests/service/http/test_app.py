"""The limit of a request body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from leeway.schema import Value
from service.app import MAX_BODY_BYTES
from service.http.problems import MEDIA_TYPE
from tests.fakes import Service

Example = dict[str, Value]


def test_a_body_of_a_mebibyte_is_taken(service: Service) -> None:
    """The limit itself is within the limit."""
    body = b'{"user_id": "7590-VHVEG"}'.ljust(MAX_BODY_BYTES)

    assert service.post_raw("/predict", body).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback", "/nothing"])
def test_a_larger_body_is_413(service: Service, path: str) -> None:
    """One byte more is refused, at every address."""
    assert service.post_raw(path, b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_larger_body_in_pieces_is_413(service: Service) -> None:
    """A body that does not state its length is refused, too."""

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


def test_a_body_that_states_too_great_a_length_is_not_read(service: Service) -> None:
    """Where the length is stated the refusal needs not one byte of the body."""
    wire = Wire((b"content-length", b"%d" % (MAX_BODY_BYTES + 1)))

    status, problem = wire.answer(service)

    assert (status, problem["status"], wire.pieces_read) == (413, 413, 0)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")], [(b"content-length", b"9" * 5_000)]])
def test_an_endless_body_is_not_read_to_its_end(service: Service, headers: list[tuple[bytes, bytes]]) -> None:
    """Where no length is stated, or a false one, reading ends just beyond the limit."""
    wire = Wire(*headers)

    status, _ = wire.answer(service)

    assert (status, wire.pieces_read) == (413, 17)
