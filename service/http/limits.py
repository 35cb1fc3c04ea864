"""Limits of requests: how long one may take to arrive, how many may be in flight, and the answers beyond them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.problems import MEDIA_TYPE, document, of_status

UNLIMITED: Final = (b"/health/live", b"/health/ready", b"/metrics")
"""What is answered however many requests are in flight."""
RETRY_AFTER_S: Final = 1
TOO_SLOW, TOO_MANY = 408, 503

Refused: TypeAlias = Callable[[str, str | None, int, float], None]
"""Takes a request that was refused here: method, route (None if unknown), status and seconds since it began."""


class RequestLimits:
    """How long a request may take to arrive, and how many may be in flight in this process.

    A request is in flight once all of it has arrived, until it is answered. Those that are still arriving do not count,
    or slow clients would keep the others out.
    """

    def __init__(self, timeout_s: float, max_in_flight: int, refused: Refused) -> None:
        self.timeout_s = timeout_s
        self.max_in_flight = max_in_flight
        self.refused = refused
        self.on_fast_path = 0
        """Requests that arrived and wait for an answer of the fast path."""
        self.arriving = 0
        """Tasks of the application whose request has not arrived as a whole."""

    def is_reached(self, tasks: int) -> bool:
        """Whether no more requests are accepted, while the application runs so many tasks."""
        return self.on_fast_path + tasks - self.arriving >= self.max_in_flight


def error_response(status: int, headers: Sequence[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
    """A whole response with a problem document, with these headers among others."""
    body = msgspec.json.encode(document(of_status(status), None))
    lines = [
        *(b"%b: %b" % header for header in headers),
        b"content-type: " + MEDIA_TYPE.encode(),
        *([b"retry-after: %d" % RETRY_AFTER_S] if status == TOO_MANY else []),
        *([] if keep_alive else [b"connection: close"]),
        b"content-length: %d" % len(body),
    ]
    return STATUS_LINE[status] + b"\r\n".join(lines) + b"\r\n\r\n" + body
