"""Requests byte by byte over a socket: such as no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

TIMEOUT_S = 10.0


def address(url: str) -> tuple[str, int]:
    """Host and port of an address without a path."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def post(path: str, document: object, headers: Mapping[bytes, bytes] | None = None) -> bytes:
    """A request that posts `document` as JSON, with these headers changed or added."""
    body = json.dumps(document).encode()
    usual = {b"host": b"test", b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
    fields = {**usual, b"connection": b"close", **(headers or {})}
    head = b"".join(name + b": " + value + b"\r\n" for name, value in fields.items())
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + head + b"\r\n" + body


def answer(url: str, request: bytes) -> tuple[int, str]:
    """Send these bytes; return status and body."""
    with socket.create_connection(address(url), TIMEOUT_S) as connection:
        connection.sendall(request)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()
