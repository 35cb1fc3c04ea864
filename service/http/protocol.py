"""Uvicorn's HTTP protocol with the fast path in front of the ASGI application.

Uvicorn hands each request to ASGI: a task, a scope, an event, several awaits; FastAPI adds routing, dependencies and
middleware. A valid `POST /predict` needs none of it. This protocol recognizes it by its head, reads its body and
answers it. Whatever else arrives, and whatever fails, goes to the application, with the very bytes that were received.

It relies on names of Uvicorn's protocol that are not documented, so `pyproject.toml` pins the version.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns, time_ns
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.http.fast_path import FastPath, HttpRequest

PATH: Final = b"/predict"
MAX_FAST_BODY_BYTES: Final = 99_999
"""Far more than a valid single prediction takes; a longer body goes to the application, which has a limit."""
_LENGTH_DIGITS: Final = len(str(MAX_FAST_BODY_BYTES))
CONTENT_TYPE: Final = b"application/json"
_IRRELEVANT: Final = frozenset(
    {
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"accept-charset"),
        *(b"content-length", b"connection", b"cache-control", b"pragma", b"dnt", b"origin", b"referer", b"cookie"),
        *(
            b"sec-fetch-dest",
            b"sec-fetch-mode",
            b"sec-fetch-site",
            b"x-request-id",
            b"authorization",
            b"transfer-encoding",
        ),
    }
)
"""Headers that neither change what a request means nor carry a trace."""
_FOR_APPLICATION: Final = frozenset({b"expect", b"upgrade", b"content-encoding", b"leeway-synthetic"})
"""Headers that the application or Uvicorn must see."""


class _NobodyWaits:
    """Takes the place of the event that Uvicorn sets when a part of the body has arrived."""

    @staticmethod
    def set() -> None:
        """Do nothing."""


class FastRequest(HttpRequest):
    """A request on the fast path. To Uvicorn's protocol it looks like the cycle of a request and its response."""

    __slots__ = ("_protocol", "body", "disconnected", "headers", "keep_alive", "response_complete")

    message_event = _NobodyWaits

    def __init__(self, protocol: PredictionProtocol, headers: list[tuple[bytes, bytes]]) -> None:
        self._protocol = protocol
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        self.response_complete = self.disconnected = False
        self.arrived_at_ns, self.arrived_ns = time_ns(), perf_counter_ns()

    @property
    def is_open(self) -> bool:
        """See `WaitingRequest`."""
        return not self.disconnected

    def abandon(self) -> None:
        """See `WaitingRequest`."""
        self._protocol.fast_path.probe.abandoned()

    def answer_alone(self) -> None:
        """See `WaitingRequest`."""
        self.abandon()
        self._protocol.hand_over(self)

    def respond(self, body: bytes) -> None:
        """See `HttpRequest`."""
        self.response_complete = True
        if not self.disconnected:
            self._protocol.respond(body, keep_alive=self.keep_alive)


class PredictionProtocol(HttpToolsProtocol):
    """Reads requests, and answers those that the fast path takes.

    Of a connection's requests at most one is on the fast path. It is `_fast` while its body arrives, and `cycle`, as
    Uvicorn's own, until it is answered. A request that is pipelined behind it goes to the application, in order.
    """

    cycle: Any
    """Uvicorn's, or a `FastRequest`, or None."""

    def __init__(self, *args: Any, fast_path: FastPath, **kwargs: Any) -> None:  # noqa: ANN401 (Uvicorn's)
        super().__init__(*args, **kwargs)
        self.fast_path = fast_path
        self._fast: FastRequest | None = None
        self._client: object = None
        self._client_headers: tuple[bytes, bytes] | None = None
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    # --- the parser's callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins; Uvicorn's scope is made when the application needs it."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Choose the request's path."""
        if self._is_for_fast_path():
            self.cycle = self._fast = FastRequest(self, self.headers)
        else:
            self._make_scope()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        fast = self._fast
        if fast is None:
            super().on_body(body)
            return
        fast.body += body
        if len(fast.body) > MAX_FAST_BODY_BYTES:
            self._fast = None
            self.hand_over(fast, more_body=True)

    def on_message_complete(self) -> None:
        """Answer the request, or hand it to the application if its body is not valid."""
        fast, self._fast = self._fast, None
        if fast is None:
            super().on_message_complete()
            return
        try:
            fast.request = self.fast_path.read(fast.body)
        except ValueError:
            self.hand_over(fast)
            return
        try:
            fast.trace = self.fast_path.probe.arrived(*self._telemetry_of(fast.headers))
        except Exception:  # noqa: BLE001 (a propagator or sampler of others: the instrumentation meets the error again)
            self.hand_over(fast)
            return
        self.fast_path.submit(fast)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand half a request to the application, which knows what a lost client means."""
        fast, self._fast = self._fast, None
        if fast is not None:
            self.hand_over(fast, more_body=True)
        super().connection_lost(exc)

    # --- the choice ---------------------------------------------------------------------------------------------------

    def _is_for_fast_path(self) -> bool:
        parser = self.parser
        return (
            self.url == PATH
            and parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
            and self._has_plain_headers()
            and self.fast_path.is_open()
        )

    def _has_plain_headers(self) -> bool:
        """Whether the content type is that of JSON, and the application needs to see no header."""
        content_type = None
        for name, value in self.headers:
            if name == b"content-type":
                if content_type is not None:
                    return False
                content_type = value
            elif name == b"content-length":
                if len(value) > _LENGTH_DIGITS:
                    return False
            elif name in _FOR_APPLICATION or not value.isascii():
                return False
        return content_type == CONTENT_TYPE

    def _telemetry_of(self, headers: list[tuple[bytes, bytes]]) -> tuple[object, list[tuple[bytes, bytes]]]:
        """What telemetry keeps of the client, and the headers that may carry a trace."""
        host = agent = b""
        contexts = []
        for pair in headers:
            name = pair[0]
            if name == b"host":
                host = pair[1]
            elif name == b"user-agent":
                agent = pair[1]
            elif name not in _IRRELEVANT and name != b"content-type":
                contexts.append(pair)
        if self._client_headers != (host, agent):
            self._client_headers = host, agent
            self._client = self.fast_path.probe.client(self._scope(headers))
        return self._client, contexts

    # --- the application ----------------------------------------------------------------------------------------------

    def _make_scope(self) -> None:
        """Do what Uvicorn does when a request begins, after its head was read."""
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers.extend(headers)

    def _scope(self, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The ASGI scope of a request on the fast path."""
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": headers,
            "state": self.app_state.copy(),
            "method": "POST",
            "path": self.root_path + PATH.decode(),
            "raw_path": self.root_path.encode() + PATH,
            "query_string": b"",
        }

    def hand_over(self, fast: FastRequest, *, more_body: bool = False) -> None:
        """Let the application answer a request, of which more of the body may arrive."""
        cycle = RequestResponseCycle(
            scope=self._scope(fast.headers),  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=fast.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += fast.body
        cycle.more_body = more_body
        cycle.disconnected = fast.disconnected
        cycle.message_event.set()
        if self.cycle is fast:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    # --- the response -------------------------------------------------------------------------------------------------

    def respond(self, body: bytes, *, keep_alive: bool) -> None:
        """Write a response with status 200."""
        defaults = self.server_state.default_headers
        if defaults is not self._default_headers:  # Uvicorn replaces them every second, for the date
            self._default_headers = defaults
            lines = [b"HTTP/1.1 200 OK", *(name + b": " + value for name, value in defaults)]
            self._head = b"\r\n".join([*lines, b"content-type: application/json", b"content-length: "])
        end = b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join((self._head, b"%d" % len(body), end, body)))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()
