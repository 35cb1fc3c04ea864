"""Requests as bytes over a socket, including those that no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

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
