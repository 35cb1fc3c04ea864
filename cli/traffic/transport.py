"""A small HTTP/1.1 client that only sends load.

Measured against a local server, it takes 24 µs of processor time a request and httpx2 780 µs: with httpx2, 1,000
requests a second would keep the client's own core busy, and the latencies would be those of the client. On a machine
busy with other work, at 200 requests a second the median was 7 ms with httpx2 and below 1 ms with this client; at
1,000 a second httpx2 fell behind without end (215 a second, p50 6.6 s), and this client had a p50 of 1 ms at 11 % of
a core. Using httpx2's transport without its client made no difference.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import NamedTuple, cast

import httptools

from cli.http import MAX_ANSWER_BYTES, ServiceAddress

KEEP_S = 2.0
"""An idle connection is reused within this time: shorter than any server's keep-alive timeout."""


class BrokenAnswer(OSError):
    """The answer is not HTTP, is too large, or ended early."""


class Reply(NamedTuple):
    """What the service answered to one request of the load."""

    status: int
    body: bytes


class LoadClient:
    """Posts JSON to one target, each request on a connection of its own; `timeout_s` limits each whole request."""

    def __init__(self, target: ServiceAddress, timeout_s: float) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []
        self._is_closed = False
        self._head = (
            f"HTTP/1.1\r\nhost: {target.authority}\r\nuser-agent: leeway-traffic/{version('leeway')}\r\n"
            "content-type: application/json\r\n"
        ) + "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
        self._tls = ssl.create_default_context() if target.scheme == "https" else None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post `body` and read the whole answer.

        Raises:
            TimeoutError: there was none in time.
            OSError: there was no connection, it broke, or the answer is not HTTP (`BrokenAnswer`).
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {self.target.base}{path} {self._head}content-length: {len(body)}\r\n{more}\r\n"
        async with asyncio.timeout(self._timeout_s):
            connection = self._reusable() or await self._connect()
            try:
                reply = await connection.send(head.encode() + body)
            except BaseException:
                connection.close()  # its answer may still come, and must not be taken for another request's
                raise
        if connection.usable and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close idle connections, and those in use once they are answered."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _reusable(self) -> _Connection | None:
        """The connection used last, if it is recent enough; otherwise all are too old, and are closed."""
        oldest_s = asyncio.get_running_loop().time() - KEEP_S
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.used_at_s >= oldest_s:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        create = asyncio.get_running_loop().create_connection
        return (await create(_Connection, self.target.host, self.target.port, ssl=self._tls))[1]


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. httptools calls the `on_…` methods."""

    def __init__(self) -> None:
        self.usable = True
        self.used_at_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        """Send the bytes of a request; the future brings the reply."""
        self._parser, self._body = httptools.HttpResponseParser(self), bytearray()
        self._reply = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.usable:
            self._fail(BrokenAnswer("the connection was closed"))
        else:
            self._transport.write(request)
        return self._reply

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
            self._fail(BrokenAnswer("the answer is not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._fail(exc if isinstance(exc, OSError) else BrokenAnswer("the connection was closed without an answer"))

    def on_body(self, body: bytes) -> None:
        """A piece of the answer's body."""
        self._body += body
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail(BrokenAnswer("the answer is larger than 16 MiB"))

    def on_message_complete(self) -> None:
        """The answer is complete."""
        self.usable = self.usable and self._parser.should_keep_alive()
        self.used_at_s = asyncio.get_running_loop().time()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Reply(self._parser.get_status_code(), bytes(self._body)))

    def _fail(self, error: OSError) -> None:
        self.usable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
