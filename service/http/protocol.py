"""Uvicorn's HTTP protocol with limits for slow and for too many requests, and with a fast path in front of ASGI.

Uvicorn hands each request to ASGI: a task, a scope, an event, several awaits; FastAPI adds routing, dependencies and
middleware. A valid request for predictions needs none of it. This protocol recognizes it by its head, reads its body
and answers it. Whatever else arrives, and whatever fails, goes to the application, with the very bytes that were
received.

It relies on names of Uvicorn's protocol that are not documented, so `pyproject.toml` pins the version.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.http.bodies import MAX_BODY_BYTES
from service.http.fast_path import FastPath
from service.http.fast_request import FastRequest
from service.http.heads import are_plain, client_of, without_upgrade
from service.http.keys import ConnectionKey
from service.http.limits import (
    HEAD_TOO_LARGE,
    MAX_HEAD_BYTES,
    NOT_HTTP,
    TOO_MANY,
    TOO_SLOW,
    RequestLimits,
    error_response,
)

MAX_FAST_BODY_BYTES: Final = 99_999
"""Far more than a valid single prediction takes; a longer body goes to the application, which has a limit."""
_LENGTH_DIGITS: Final = len(str(MAX_FAST_BODY_BYTES))
_BATCH_LENGTH_DIGITS: Final = len(str(MAX_BODY_BYTES))


class ServiceProtocol(HttpToolsProtocol):
    """Reads requests, rejects those that exceed a limit, and answers those that the fast path takes.

    At most one request of a connection is on the fast path. It is `_incoming` while its body arrives, and `cycle`, like
    Uvicorn's own, until it is answered. Requests that are pipelined behind it go to the application, in order: `cycle`
    is the last one that arrived, and `_current` the one that is answered now.
    """

    cycle: Any
    """Uvicorn's, or a `FastRequest`, or None."""

    def __init__(self, *args: Any, fast_path: FastPath | None, limits: RequestLimits, **kwargs: Any) -> None:  # noqa: ANN401 (Uvicorn's)
        super().__init__(*args, **kwargs)
        self.limits = limits
        self._fast_path = fast_path
        self._incoming: FastRequest | None = None
        self._current: Any = None
        self._client: object = None
        self._client_key: tuple[bytes, bytes, bytes, str | None] | None = None
        self._key = ConnectionKey(fast_path.gate if fast_path else None)
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._head = b""
        self._is_arriving = self._has_head = self._is_same_head = False
        self._head_bytes = 0
        self._offer: bytes | None = None
        self._offer_end = 0
        self._began_s = 0.0
        self._task_awaits_body = False
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def fast_path(self) -> FastPath:
        """The fast path of a request that is on it."""
        assert self._fast_path is not None  # noqa: S101 (only requests on the fast path ask for it)
        return self._fast_path

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as Uvicorn's
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_arrival()

    def data_received(self, data: bytes) -> None:
        """Read requests; the last one may have arrived in part."""
        self._is_same_head = self._is_arriving and not self._has_head
        super().data_received(data)
        rest = memoryview(data)
        while (head := self._offer) is not None:  # read it again, because the parser has skipped the body
            self._offer = None
            self.parser = type(self.parser)(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as Uvicorn does
            rest = rest[self._offer_end :]
            super().data_received(head)
            super().data_received(rest)  # type: ignore[arg-type]  # a view, because there may be many offers
        if self._is_same_head and not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._reject_broken(HEAD_TOO_LARGE)
                return
        if self._deadline is None and (self._is_arriving or self._is_idle_without_timer()):
            self._await_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave a request that arrived in part to the application, as Uvicorn does, and drop those that wait."""
        self._stop_waiting()
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self.hand_over(incoming, more_body=True)
        self._set_task_awaits_body(awaits=False)
        self.pipeline.clear()
        current = self._current  # Uvicorn tells only the last request, which may wait behind this one
        if current is not None and not current.response_complete:
            current.disconnected = True
            current.message_event.set()
        super().connection_lost(exc)

    # --- the parser's callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins; Uvicorn's scope is made when the application needs it."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._is_arriving, self._has_head, self._head_bytes = True, False, 0
        self._is_same_head = False

    def on_headers_complete(self) -> None:
        """Choose the request's path."""
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != b"CONNECT":
            self._offer = without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)
            return
        self._has_head = True
        is_next = self.cycle is None or self.cycle.response_complete
        if is_next and self.limits.is_reached(len(self.tasks)) and self.limits.applies_to(self.url):
            self._reject_overload()
        elif is_next and self._is_for_fast_path():
            self.cycle = self._current = self._incoming
        else:
            self._make_scope()
            self._has_head = False  # until Uvicorn accepts it
            super().on_headers_complete()
            self._has_head = True
            self._set_task_awaits_body(awaits=is_next)
        self.headers = []  # the parser reports the trailers of a chunked body as headers, too

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        incoming = self._incoming
        if incoming is None:
            super().on_body(body)
            return
        incoming.body += body
        if len(incoming.body) > (MAX_BODY_BYTES if incoming.is_batch else MAX_FAST_BODY_BYTES):
            self._incoming = None
            self.hand_over(incoming, more_body=True)
            self._set_task_awaits_body(awaits=True)

    def on_message_complete(self) -> None:
        """Answer the request, or hand it to the application if its body is not valid."""
        if self._offer is not None:
            return
        self._is_arriving = False
        if self._deadline is not None:
            self._stop_waiting()
        request, self._incoming = self._incoming, None
        if request is None:
            self._set_task_awaits_body(awaits=False)
            super().on_message_complete()
            return
        if self.limits.is_reached(len(self.tasks)):
            self._reject_overload()
            return
        fast_path = self.fast_path
        try:
            if not request.is_batch:
                request.request = fast_path.read(request.body)
            request.trace = fast_path.probe.arrived(*self._telemetry_of(request))
        except Exception:  # noqa: BLE001 (an invalid body, or a propagator or sampler of others that fails: the application meets it again)
            self.hand_over(request)
            return
        self.limits.arrived()
        if request.is_batch:
            fast_path.submit_batch(request)
        else:
            fast_path.submit(request)

    # --- the choice ---------------------------------------------------------------------------------------------------

    def _is_for_fast_path(self) -> bool:
        """Whether the fast path takes this request, which is `_incoming` then."""
        fast_path, parser = self._fast_path, self.parser
        if fast_path is None:
            return False
        is_batch = self.url in fast_path.batches
        if (
            (is_batch or self.url in fast_path.singles)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
            and are_plain(self.headers, _BATCH_LENGTH_DIGITS if is_batch else _LENGTH_DIGITS)
            and fast_path.is_open()
            and self._key.admits(self.headers)
        ):
            self._incoming = FastRequest(self, self.headers)
            self._incoming.is_batch, self._incoming.key_name = is_batch, self._key.name
            return True
        return False

    def _telemetry_of(self, fast: FastRequest) -> tuple[object, list[tuple[bytes, bytes]]]:
        """What telemetry keeps of the client, and the headers that may carry a trace."""
        host, agent, contexts = client_of(fast.headers)
        key = fast.target, host, agent, fast.key_name
        if self._client_key != key:
            self._client_key = key
            self._client = self.fast_path.probe.client(self._scope(fast), fast.key_name)
        return self._client, contexts

    # --- the application ----------------------------------------------------------------------------------------------

    def _make_scope(self) -> None:
        """Do what Uvicorn does when a request begins, after its head was read."""
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers.extend(headers)

    def _scope(self, fast: FastRequest) -> dict[str, Any]:
        """The ASGI scope of a request on the fast path."""
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": fast.headers,
            "state": self.app_state.copy(),
            "method": "POST",
            "path": fast.target.decode(),
            "raw_path": fast.target,
            "query_string": b"",
        }

    def hand_over(self, fast: FastRequest, *, more_body: bool = False) -> None:
        """Let the application answer a request, of which more of the body may arrive."""
        cycle = RequestResponseCycle(
            scope=self._scope(fast),  # type: ignore[arg-type]
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 (an ASGI application)
        """Let the application answer a request."""
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    # --- limits -------------------------------------------------------------------------------------------------------

    def _is_idle_without_timer(self) -> bool:
        """Whether data came that begins no request, such as an empty line; Uvicorn's timer has ended with it."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.timeout_keep_alive_task is None

    def _await_arrival(self) -> None:
        self._began_s = self.loop.time()
        self._deadline = self.loop.call_later(self.limits.timeout_s, self._reject_slow)

    def _stop_waiting(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _set_task_awaits_body(self, *, awaits: bool) -> None:
        """Whether the application's task waits for the rest of its request."""
        if awaits is not self._task_awaits_body:
            self._task_awaits_body = awaits
            self.limits.arriving += 1 if awaits else -1

    def _reject_slow(self) -> None:
        """The time for a request is over: answer 408 if a part of it has arrived, and close the connection."""
        self._deadline = None
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if self.pipeline or not (self._has_head or cycle is None or cycle.response_complete):
            self._await_arrival()  # a 408 would be taken for the answer to an earlier request, which is still to come
            return
        self._reject_arriving(TOO_SLOW)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (Uvicorn's)
        """Reject bytes that are not HTTP."""
        self._has_head = self._has_head and self._is_arriving
        self._reject_broken(NOT_HTTP)

    def _reject_broken(self, status: int) -> None:
        """Answer what cannot be read any further, unless an earlier request waits for its answer, and close."""
        if self._deadline is None:
            self._began_s = self.loop.time()
        current = self._current
        is_body_of_current = self._has_head and self._is_arriving and current is self.cycle
        if current is None or current.response_complete or is_body_of_current:
            self._stop_waiting()
            self._reject_arriving(status)
            return
        self._stop_waiting()
        self._is_arriving = False
        current.keep_alive = False  # it would take the response for its own
        self.pipeline.clear()
        self.flow.pause_reading()

    def _reject_arriving(self, status: int) -> None:
        """Answer the request that arrives, unless the application has begun to, and close the connection."""
        cycle, incoming, self._incoming = self.cycle, self._incoming, None
        is_answered = self._has_head and (cycle.response_started or cycle.response_complete)
        if (self._is_arriving or status == NOT_HTTP) and not is_answered:
            self._reject(status, keep_alive=False, is_seen=self._has_head and incoming is None)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore the offer of another protocol; Java's client offers HTTP/2 with every request."""
        self._offer_end = getattr(sys.exception(), "args", (0,))[0]

    def _reject_overload(self) -> None:
        self._began_s = self.loop.time()
        parser = self.parser
        is_kept = parser.get_http_version() == "1.1" and parser.should_keep_alive()
        self._reject(TOO_MANY, keep_alive=is_kept and not self.expect_100_continue)
        self.cycle = self._current = rejected = FastRequest(self, self.headers)
        rejected.response_complete = True  # so that Uvicorn's protocol ignores its body
        self.on_response_complete()

    def _reject(self, status: int, *, keep_alive: bool, is_seen: bool = False) -> None:
        """Write the problem document, and report the request to telemetry unless the application has seen it."""
        method = self.parser.get_method().decode("ascii", "replace") if self._has_head else ""
        if not is_seen:
            self.limits.report(method, self.url if self._has_head else b"", status, self.loop.time() - self._began_s)
        if self.flow.write_paused:
            self.transport.abort()  # the client does not read what it was sent before
            return
        defaults = self.server_state.default_headers
        self.transport.write(error_response(status, defaults, keep_alive=keep_alive, has_body=method != "HEAD"))
        if not keep_alive:
            self.transport.close()

    # --- the response -------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Go on with the connection's next request."""
        super().on_response_complete()
        cycle = self.cycle  # the last request, which may have arrived in part behind those that are answered
        self._set_task_awaits_body(awaits=not (cycle.response_complete or self.pipeline) and cycle.more_body)
        if self._is_arriving and self._deadline is not None:  # the next request has its own time from here
            self._stop_waiting()
            self._await_arrival()

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
