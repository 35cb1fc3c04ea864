"""Serves the drift reports over HTTP, read-only. The standard library's server is enough: one thread a connection."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from drift.report.folder import ReportFolder
from drift.report.site import Answer, Site, in_words

TIMEOUT_S: Final = 15.0
"""How long one read from a client, or one write of a piece to it, may take."""

MOST_CONNECTIONS: Final = 64
_MOST_BODY = 65_536

_log = logging.getLogger(__name__)


class ReportsPageError(Exception):
    """The page cannot be served at that address; the message says why and what to do."""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection: HTTP/1.0, so that nothing unread can be taken for a second request."""

    server: _Server
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers that GET would have."""
        self._send(self._answer(), with_body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 (theirs)
        """The base class finds a request unreadable, or of a method that is not ours: say so in our own form."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._drain()
            refusal = in_words(HTTPStatus.METHOD_NOT_ALLOWED, "These pages are for reading: GET and HEAD only.")
            refusal.headers["Allow"] = "GET, HEAD"
            self._send(refusal, with_body=True)
        else:
            self._send(in_words(HTTPStatus(code), HTTPStatus(code).phrase), with_body=True)

    def version_string(self) -> str:
        """Who answers, without Python's version."""
        return "leeway"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Requests are worth a line only to who looks for them."""
        _log.debug("%s: %s", self.address_string(), format % args)

    def _answer(self) -> Answer:
        path, _, query = self.path.partition("?")
        try:
            return self.server.site.answer(path, query)
        except Exception:  # noqa: BLE001 (a request's boundary: it is told, logged, and the next one is served)
            _log.exception("the reports page failed at %r", path)
            return in_words(HTTPStatus.INTERNAL_SERVER_ERROR, "The page could not be made; the worker's log says why.")

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        if answer.file is None:
            self._send_head(answer, len(answer.body))
            if with_body:
                self.wfile.write(answer.body)
            return
        try:
            file = answer.file.open("rb")
        except OSError:  # pruned since it was found
            self._send(in_words(HTTPStatus.NOT_FOUND, "There is nothing here any more."), with_body=with_body)
            return
        with file:
            self._send_head(answer, os.fstat(file.fileno()).st_size)
            if with_body:
                shutil.copyfileobj(file, self.wfile)

    def _send_head(self, answer: Answer, length: int) -> None:
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _drain(self) -> None:
        """Read a small body that nobody wants: closing on unread bytes would reset the client's connection."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal():
            self.rfile.read(min(int(length), _MOST_BODY))


class _Server(ThreadingHTTPServer):
    """A thread a connection, up to a limit; slow readers hold up nobody else and never the exit."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, site: Site) -> None:
        self.site = site
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name, as the base class would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve in a thread, or close at once where too many are served already."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Serve one connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 (the base class's)
        """A client that went away or fell asleep is no error of ours."""
        _log.debug("a connection to the reports page broke", exc_info=True)


@dataclass(frozen=True)
class Address:
    """Where the pages are served; the port is the bound one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser, without a last slash."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@contextmanager
def serve_reports(
    folder: ReportFolder, host: str, port: int, *, metrics_text: Callable[[], bytes | str] | None = None
) -> Iterator[Address]:
    """Serve the reports from a daemon thread while the block runs; port 0 takes a free one.

    Raises:
        ReportsPageError: the address cannot be used.
    """
    try:
        server = _Server(host, port, Site(folder, metrics_text))
    except OSError as error:
        raise ReportsPageError(
            f"cannot serve the reports page on {host}:{port}: {error.strerror or error};"
            " set LEEWAY_REPORTS_HOST or LEEWAY_REPORTS_PORT"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="reports page", daemon=True)
    thread.start()
    try:
        yield Address(host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
