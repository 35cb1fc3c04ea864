"""A small HTTP/1.1 client for load.

It takes a fifth of the processor time of a full one, so that what is measured is the service and not the client.
Connections are kept and used again; there are no proxies, redirects or cookies.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import cast
from urllib.parse import urlsplit

import httptools

from leeway.urls import redact_url

KEEP_S = 2.0
"""An idle connection is used again within this time: less than any server waits before it closes one."""
MAX_ANSWER_BYTES = 2**24
_GIVE = "give one like http://127.0.0.1:8000; what may be secret in it is not redact_url here"


class BadUrl(ValueError):
    """The address is none that requests can be sent to; the message says what would do."""


class BadAnswer(OSError):
    """What came back is no HTTP, or more than we take, or ended half-way."""


@dataclass(frozen=True)
class Target:
    """Where requests go. `base` is the path before ours, without a slash at its end."""

    scheme: str
    host: str
    port: int
    base: str = ""

    @classmethod
    def parse(cls, url: str, called: str = "LEEWAY_URL") -> Target:
        """Read an address; user names and passwords in it are refused. `called` is the setting that holds it.

        Raises:
            BadUrl: it is no http or https address.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadUrl(f"{called} ({redact_url(url)}) is no address: {_GIVE}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise BadUrl(f"{called} ({redact_url(url)}) is no address of a service: {_GIVE}")
        if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
            raise BadUrl(f"{called} ({redact_url(url)}) holds more than scheme, host, port and path: {_GIVE}")
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, default if port is None else port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """Host and port, as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.base}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class HttpClient:
    """Sends requests to one target, each on a connection of its own while it lasts; `timeout_s` bounds each whole."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._idle: deque[_Connection] = deque()
        self._tls = ssl.create_default_context() if target.scheme == "https" else None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and read its whole answer.

        Raises:
            TimeoutError: there was none in time.
            OSError: there was no connection, it broke, or no HTTP came back (`BadAnswer`).
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
        head = f"{_head(self.target, method, path)}content-length: {len(body)}\r\n{more}\r\n"
        async with asyncio.timeout(self._timeout_s):
            connection = self._kept() or await self._open()
            try:
                answer = await connection.ask(head.encode() + body)
            except BaseException:
                connection.close()  # its answer may still come, and must not be taken for another's
                raise
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle; what is under way closes itself."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> _Connection | None:
        """The connection that was used last, where one is young enough; older ones are closed."""
        oldest_s = asyncio.get_running_loop().time() - KEEP_S
        while self._idle and self._idle[0].used_at_s < oldest_s:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self.target.host, self.target.port, ssl=self._tls)
        return connection


@lru_cache(maxsize=32)
def _head(target: Target, method: str, path: str) -> str:
    """The lines that are the same in every request of a kind."""
    kind = "content-type: application/json\r\n" if method == "POST" else ""
    agent = f"leeway-traffic/{version('leeway')}"
    return f"{method} {target.base}{path} HTTP/1.1\r\nhost: {target.authority}\r\nuser-agent: {agent}\r\n{kind}"


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The `on_…` methods are called by httptools."""

    def __init__(self) -> None:
        self.usable = True
        self.used_at_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send the bytes of a request; the future brings the answer."""
        self._parser, self._body = httptools.HttpResponseParser(self), bytearray()
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.usable:
            self._fail(BadAnswer("the connection was closed"))
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Close it at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(BadAnswer("what came back is no HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._fail(exc if isinstance(exc, OSError) else BadAnswer("the connection was closed without an answer"))

    def on_body(self, body: bytes) -> None:
        """A piece of the answer's body."""
        self._body += body
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail(BadAnswer("the answer is larger than 16 MiB"))

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.usable = self.usable and self._parser.should_keep_alive()
        self.used_at_s = asyncio.get_running_loop().time()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), bytes(self._body)))

    def _fail(self, error: OSError) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
