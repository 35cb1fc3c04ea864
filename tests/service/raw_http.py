"""Requests as bytes over a socket, including those that no client library would send."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

TIMEOUT_S = 10.0


def address(url: str) -> tuple[str, int]:
    """The host and port of a URL without a path."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def post(path: str, document: object, headers: Mapping[bytes, bytes] | None = None) -> bytes:
    """A POST request with `document` as JSON, and with these headers added or replaced."""
    body = json.dumps(document).encode()
    usual = {b"host": b"test", b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
    fields = {**usual, b"connection": b"close", **(headers or {})}
    head = b"".join(name + b": " + value + b"\r\n" for name, value in fields.items())
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + head + b"\r\n" + body


def answer(url: str, request: bytes) -> tuple[int, str]:
    """Send these bytes; return the status and the body."""
    with socket.create_connection(address(url), TIMEOUT_S) as connection, connection.makefile("rb") as stream:
        connection.sendall(request)
        head, _, body = stream.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@dataclass
class Response:
    """One response on a connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 (any document)
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """A connection that sends bytes and reads responses one by one."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(address(url), TIMEOUT_S)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send these parts, each by itself."""
        for part in parts:
            self.socket.sendall(part)
            if len(parts) > 1:
                time.sleep(0.02)  # so that the server reads them one by one

    def read(self, *, has_body: bool = True) -> Response:
        """Read one response with a content length; one to a HEAD request has no body."""
        status = int(self._stream.readline().split()[1])
        headers = {}
        while line := self._stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Response(status, headers, self._stream.read(int(headers.get("content-length", 0)) if has_body else 0))

    def is_closed(self) -> bool:
        """Whether the server has closed the connection; waits for it."""
        return self._stream.read(1) == b""


@contextmanager
def patched(target: object, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of a frozen object."""
    before = getattr(target, name)
    object.__setattr__(target, name, value)
    try:
        yield
    finally:
        object.__setattr__(target, name, before)
