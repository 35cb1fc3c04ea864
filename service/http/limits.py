"""Request limits: how long a request may take to arrive, how many may be in flight, and the responses beyond that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.problems import MEDIA_TYPE, Problem, document, of_status
from service.telemetry.probe import BATCH, SINGLE

UNLIMITED: Final = ("/health/live", "/health/ready", "/metrics")
"""Paths that are answered however many requests are in flight."""
RETRY_AFTER_S: Final = 1
TOO_SLOW, TOO_MANY = 408, 503
NOT_HTTP, HEAD_TOO_LARGE = 400, 431
MAX_HEAD_BYTES: Final = 65_536
"""Of a request line with headers, beyond what arrives with their first bytes."""
_NOT_HTTP: Final = Problem(NOT_HTTP, "malformed-http", "This is not a valid HTTP/1.1 request.")

Rejected: TypeAlias = Callable[[str, str | None, int, float], None]
"""Takes a request that was rejected here: method, route (None if unknown), status and seconds since it began."""


class RequestLimits:
    """How long a request may take to arrive, and how many may be in flight in this process.

    A request is in flight once all of it has arrived, until it is answered. Requests that are still arriving do not
    count: otherwise slow clients would block the others.

    `rejected` takes each request that is rejected before the application has seen it. `root_path` is the prefix of a
    proxy, with and without which requests arrive.
    """

    def __init__(self, timeout_s: float, max_in_flight: int, rejected: Rejected, *, root_path: str = "") -> None:
        self.timeout_s = timeout_s
        self.max_in_flight = max_in_flight
        self.arriving = 0
        """Tasks of the application whose request has not arrived completely."""
        self.rejected = rejected
        self._on_fast_path = 0
        prefixes = (b"", root_path.encode())
        self._unlimited = frozenset(prefix + path.encode() for prefix in prefixes for path in UNLIMITED)
        self._routes = {prefix + route.encode(): route for prefix in prefixes for route in (SINGLE, BATCH)}

    def arrived(self) -> None:
        """A request arrived that the fast path answers."""
        self._on_fast_path += 1

    def answered(self) -> None:
        """The fast path answered such a request, or left it to the application."""
        self._on_fast_path -= 1

    def is_reached(self, tasks: int) -> bool:
        """Whether no more requests are accepted, if the application runs this many tasks."""
        return self._on_fast_path + tasks - self.arriving >= self.max_in_flight

    def applies_to(self, target: bytes) -> bool:
        """Whether a request with this target is rejected when the limit is reached."""
        return _path(target) not in self._unlimited

    def report(self, method: str, target: bytes, status: int, duration_s: float) -> None:
        """Report a request that was rejected with this status, `duration_s` after it began."""
        self.rejected(method, self._routes.get(_path(target)), status, duration_s)


def _path(target: bytes) -> bytes:
    return target.partition(b"?")[0]


def error_response(
    status: int, headers: Sequence[tuple[bytes, bytes]], *, keep_alive: bool, has_body: bool = True
) -> bytes:
    """A complete response with a problem document and these headers; a response to HEAD has no body."""
    problem = _NOT_HTTP if status == NOT_HTTP else of_status(status)
    body = msgspec.json.encode(document(problem, None))
    lines = [
        *(b"%b: %b" % header for header in headers),
        b"content-type: " + MEDIA_TYPE.encode(),
        *([b"retry-after: %d" % RETRY_AFTER_S] if status == TOO_MANY else []),
        *([] if keep_alive else [b"connection: close"]),
        b"content-length: %d" % len(body),
    ]
    return STATUS_LINE[status] + b"\r\n".join(lines) + b"\r\n\r\n" + (body if has_body else b"")
