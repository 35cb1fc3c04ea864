"""Serves the drift reports over HTTP, read-only, from a thread of the worker.

Only known names are answered: no part of a request ever becomes a path.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from uvicorn.protocols.http.h11_impl import H11Protocol

from drift.report.folder import ReportFolder
from drift.report.page import page_policy, render_run
from leeway.keys import CHALLENGE, KeyRing, Scope, key_in
from leeway.listener import listen, url_of, warn_if_open

HEALTH: Final = "/healthz"
MOST_CONNECTIONS: Final = 64
HEAD_TIMEOUT_S: Final = 15.0
SHUTDOWN_GRACE_S: Final = 1

_LATEST_MS = 200_000_000_000_000  # the year 8307; later times are not those of runs
_NO_CACHE = {"Cache-Control": "no-cache"}
_TYPES = {".html": "text/html", ".json": "application/json"}
_EVIDENTLY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:;"
    " connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Evidently's report is one file with its scripts inside: they may run, and may not connect anywhere."""


class ReportsPageError(Exception):
    """The page cannot be served at that address; the message says why and what to do."""


class _Endpoints:
    """Answers GET and HEAD, one at a time in the server's thread: a page takes milliseconds."""

    def __init__(self, folder: ReportFolder, metrics_text: Callable[[], bytes | str] | None) -> None:
        self._folder = folder
        self._metrics_text = metrics_text

    async def index(self, _request: Request) -> Response:
        return _page(self._folder.page(now=datetime.now(UTC)))

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(self, _request: Request) -> Response:
        if self._metrics_text is None:
            return _not_found()
        return Response(self._metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def nearest(self, request: Request) -> Response:
        moment = _moment(request.query_params.getlist("time"))
        if moment is None:
            return _text(HTTPStatus.BAD_REQUEST, "Give a Unix time in milliseconds: /at?time=1767225600000")
        run = self._folder.nearest(moment)
        if run is None:
            return _text(HTTPStatus.NOT_FOUND, "No run yet.")
        return RedirectResponse(f"/runs/{run.run_id}/", HTTPStatus.FOUND)

    async def run_without_slash(self, request: Request) -> Response:
        run = self._folder.find(request.path_params["run_id"])
        return RedirectResponse(f"/runs/{run.run_id}/", HTTPStatus.MOVED_PERMANENTLY) if run else _no_run()

    async def run(self, request: Request) -> Response:
        run = self._folder.find(request.path_params["run_id"])
        if run is None:
            return _no_run()
        name = request.path_params.get("name", "index.html")
        if name == "index.html":
            return _page(render_run(run, self._folder.files([run]), trace_url=self._folder.trace_url))
        return _file(self._folder.member(run.run_id, name))

    async def single(self, request: Request) -> Response:
        return _file(self._folder.single(request.path_params["name"]))


def reports_app(
    folder: ReportFolder, metrics_text: Callable[[], bytes | str] | None = None, keys: KeyRing | None = None
) -> Starlette:
    """The application. `metrics_text` returns Prometheus text for `/metrics`, which is not found without it.

    With `keys` everything but `/healthz` needs an API key with the scope `operate`, which a browser asks for.
    """
    answer = _Endpoints(folder, metrics_text)
    app = Starlette(
        routes=[
            Route("/", answer.index),
            Route("/index.html", answer.index),
            Route(HEALTH, answer.health),
            Route("/metrics", answer.metrics),
            Route("/at", answer.nearest),
            Route("/runs/{run_id}", answer.run_without_slash),
            Route("/runs/{run_id}/", answer.run),
            Route("/runs/{run_id}/{name}", answer.run),
            Route("/{name}", answer.single),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
    )
    app.router.redirect_slashes = False
    if keys is not None:
        app.add_middleware(_Keys, keys=keys)
    return app


class _Keys:
    """Middleware that lets only requests with a key pass."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        response = None
        if scope["type"] == "http" and scope["path"] != HEALTH:
            response = self._rejection(key_in(scope["headers"], is_page=True))
        await (response or self._app)(scope, receive, send)

    def _rejection(self, key: bytes | None) -> Response | None:
        found = None if key is None else self._keys.find(key)
        if found is None:
            response = _text(HTTPStatus.UNAUTHORIZED, "An API key is needed: as password, with any name.")
            response.headers["www-authenticate"] = CHALLENGE
            return response
        if Scope.OPERATE not in found[1]:
            return _text(HTTPStatus.FORBIDDEN, f"The API key {found[0]!r} does not allow {Scope.OPERATE}.")
        return None


def _moment(given: list[str]) -> datetime | None:
    """The time of `/at?time=<unix ms>`; None for anything else."""
    if len(given) != 1 or not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", given[0]) or float(given[0]) > _LATEST_MS:
        return None
    return datetime.fromtimestamp(float(given[0]) / 1_000, UTC)


def _page(text: str) -> Response:
    policy = {"Content-Security-Policy": f"{page_policy()}; frame-ancestors 'self'"}
    return HTMLResponse(text, headers=policy | _NO_CACHE)


def _file(path: Path | None) -> Response:
    try:
        content = path.read_bytes() if path else None
    except OSError:  # pruned since it was found
        content = None
    if path is None or content is None:
        return _not_found()
    policy = {"Content-Security-Policy": _EVIDENTLY_POLICY} if path.suffix == ".html" else {}
    return Response(content, media_type=_TYPES[path.suffix], headers=policy | _NO_CACHE)


def _no_run() -> Response:
    return _text(HTTPStatus.NOT_FOUND, "This run does not exist. Old reports are removed after a while.")


def _not_found() -> Response:
    return _text(HTTPStatus.NOT_FOUND, "Not found.")


async def _http_error(_request: Request, error: Exception) -> Response:
    """No route has the path, or the method is not GET or HEAD."""
    if not isinstance(error, HTTPException) or error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return _not_found()
    response = _text(HTTPStatus.METHOD_NOT_ALLOWED, "These pages are read-only: use GET or HEAD.")
    response.headers["Allow"] = "GET, HEAD"
    return response


async def _server_error(_request: Request, _error: Exception) -> Response:
    """Uvicorn logs the traceback."""
    return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "The page cannot be rendered; see the worker's log.")


def _text(status: HTTPStatus, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)


@dataclass(frozen=True)
class Address:
    """Where the pages are served: the URL without a trailing slash, and the bound port."""

    url: str
    port: int


@contextmanager
def serve_reports(
    folder: ReportFolder,
    host: str,
    port: int,
    *,
    metrics_text: Callable[[], bytes | str] | None = None,
    keys: KeyRing | None = None,
    is_open: bool = False,
) -> Iterator[Address]:
    """Serve the reports from a daemon thread while the block runs; port 0 takes a free one.

    `keys` are those that requests need. Without them and without `is_open`, an address that other machines may reach is
    warned of.

    Raises:
        ReportsPageError: the address cannot be used.
    """
    try:
        listener = listen(host, port, variables="LEEWAY_REPORTS")
    except OSError as error:
        raise ReportsPageError(f"the reports page: {error.strerror}") from error
    if keys is None and not is_open:
        warn_if_open(listener, "the reports page")
    server = uvicorn.Server(_config(reports_app(folder, metrics_text, keys)))
    thread = threading.Thread(target=server.run, args=([listener],), name="reports page", daemon=True)
    thread.start()
    try:
        yield Address(url_of(listener), listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


class _TimedProtocol(H11Protocol):
    """Closes a connection that does not complete the head of a request in time: uvicorn would wait for it forever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._time_head()

    def on_response_complete(self) -> None:
        """See uvicorn; a part of the next request may have arrived already."""
        super().on_response_complete()
        self._time_head()

    def _time_head(self) -> None:
        """Start the timer while a head is incomplete, and cancel it once it is complete."""
        is_incomplete = self.conn.their_state is h11.IDLE
        if self._head_timer is not None and not is_incomplete:
            self._head_timer.cancel()
            self._head_timer = None
        elif self._head_timer is None and is_incomplete:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_TimedProtocol,  # h11, unlike httptools, hands over the target as it was sent
        loop="asyncio",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[("Server", "leeway"), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")],
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        log_level="error",  # starting, stopping and unreadable requests are not worth a line
    )
