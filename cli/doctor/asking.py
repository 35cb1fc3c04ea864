"""Asks by HTTP and waits for what is on its way. No proxies, no redirects: who is asked is who answers."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any, TypeVar

from cli.traffic.http import BadUrl, Target

T = TypeVar("T")
QUESTION_S = 5.0
"""The longest that one answer may take."""
LOOK_EVERY_S = 0.25
MAX_ANSWER_BYTES = 2**24
OK, NOT_FOUND, UNAVAILABLE = 200, 404, 503


class Unanswered(Exception):
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
            Unanswered: it is none.
        """
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unanswered(f"answers, but not as it should (status {self.status}, no JSON object)")
        return found


def ask(
    url: str, path: str, timeout_s: float, *, body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """GET, or POST `body` as JSON where there is one.

    Raises:
        Unanswered: no answer came.
    """
    try:
        target = Target.parse(url)
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.host, target.port, timeout=timeout_s)
        try:
            return _asked(connection, target.base + path, body, headers or {})
        finally:
            connection.close()
    except (BadUrl, OSError, http.client.HTTPException) as error:
        raise Unanswered(_in_words(error, url, timeout_s)) from error


def _asked(connection: http.client.HTTPConnection, path: str, body: object, headers: Mapping[str, str]) -> Answer:
    given = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"content-type": "application/json"}
    asked_at_s, began_s = time.time(), time.monotonic()
    connection.request("GET" if given is None else "POST", path, given, {**kind, **headers})
    response = connection.getresponse()
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


class Patience:
    """How long we wait for what is on its way. All who wait begin together, and end together when it is given up."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        self._began_s = time.monotonic()
        self._given_up = Event()

    @property
    def waited_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

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
