"""Asks by HTTP and waits for what is on its way. No proxies, no redirects: who is asked is who answers."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from cli.http import BadUrl, Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")
QUESTION_S = 5.0
"""The longest that one answer may take, from the connection to its last byte."""
LOOK_EVERY_S = 0.25
MAX_ANSWER_BYTES = 2**24
OK, NOT_FOUND, UNAVAILABLE = 200, 404, 503


class EndpointError(Exception):
    """There was no answer, or none that can be used; the message says so in words that follow a name."""


@dataclass(frozen=True)
class Answer:
    """What came back, who said it was, and how far the clock over there is ahead of ours (s; None: it did not tell)."""

    status: int
    body: bytes
    took_s: float
    clock_ahead_s: float | None
    server: str

    def document(self) -> dict[str, Any]:
        """The JSON object that was answered.

        Raises:
            EndpointError: it is none.
        """
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise EndpointError(f"answers, but not as it should (status {self.status}, no JSON object)")
        return found


def ask(
    url: str, path: str, timeout_s: float, *, body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """GET, or POST `body` as JSON where there is one.

    Raises:
        EndpointError: no answer came.
    """
    try:
        target = Target.parse(url, "its address")
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.host, target.port, timeout=timeout_s)
        connection.response_class = partial(_Timely, time.monotonic() + timeout_s)  # type: ignore[assignment]
        try:
            return _asked(connection, target.base + path, body, headers or {})
        finally:
            connection.close()
    except (BadUrl, OSError, http.client.HTTPException) as error:
        raise EndpointError(_in_words(error, url, timeout_s)) from error


class _Timely(http.client.HTTPResponse):
    """An answer that is whole by `deadline_s` (monotonic), however slowly its bytes come.

    A socket's own timeout begins anew with each byte.
    """

    def __init__(self, deadline_s: float, sock: socket.socket, **more: Any) -> None:  # noqa: ANN401 (the base class's)
        super().__init__(sock, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Pieces(sock, deadline_s))


class _Pieces(io.RawIOBase):
    """What comes on a socket, waited for until `deadline_s`."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._sock, self._deadline_s = sock, deadline_s
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """See `io.RawIOBase`."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._raw.close()
        super().close()


def _asked(connection: http.client.HTTPConnection, path: str, body: object, headers: Mapping[str, str]) -> Answer:
    given = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"content-type": "application/json"}
    asked_at_s, began_s = time.time(), time.monotonic()
    connection.request("GET" if given is None else "POST", path, given, {**kind, **headers})
    with connection.getresponse() as response:
        heard_at_s = time.time()
        content = response.read(MAX_ANSWER_BYTES)
    ahead_s = clock_ahead_s(response.headers.get("date"), (asked_at_s + heard_at_s) / 2)
    return Answer(response.status, content, time.monotonic() - began_s, ahead_s, response.headers.get("server") or "")


def clock_ahead_s(date: str | None, at_s: float) -> float | None:
    """How far a clock that says `date` (a header, in whole seconds) is ahead of ours, which says `at_s` (Unix time)."""
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return told.replace(tzinfo=told.tzinfo or UTC).timestamp() + 0.5 - at_s


def _in_words(error: Exception, url: str, timeout_s: float) -> str:
    if isinstance(error, BadUrl):
        return f"cannot be asked: {error}"
    if isinstance(error, socket.gaierror):
        return f"cannot be found: {url} names a host that is not known here"
    if isinstance(error, ConnectionRefusedError):
        return f"is not there: nobody listens at {url}"
    if isinstance(error, TimeoutError):
        return f"does not answer at {url} within {timeout_s:g} s"
    if isinstance(error, http.client.HTTPException | ConnectionError):
        return f"is something else: what answers at {url} speaks no HTTP"
    return f"cannot be reached at {url} ({getattr(error, 'strerror', None) or error})"


class Deadline:
    """How long we wait for what is on its way. All who wait begin together, and end together when it is given up."""

    def __init__(self, wait_s: float, *, began_s: float | None = None, given_up: Event | None = None) -> None:
        self.wait_s = wait_s
        self._began_s = time.monotonic() if began_s is None else began_s
        self._given_up = given_up or Event()

    @property
    def waited_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    def of(self, wait_s: float) -> Deadline:
        """One that began with this one and is given up with it, and waits for another time."""
        return Deadline(wait_s, began_s=self._began_s, given_up=self._given_up)

    def give_up(self) -> None:
        """Let everybody who waits go."""
        self._given_up.set()

    def wait_for(self, look: Callable[[], T | None]) -> T | None:
        """Look until there is something, and return it; None where there was nothing in time."""
        while True:
            found = look()
            if found is not None or self.waited_s >= self.wait_s:
                return found
            if self._given_up.wait(LOOK_EVERY_S):
                return None
