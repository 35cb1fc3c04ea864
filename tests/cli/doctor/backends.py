"""Servers on loopback that answer as Prometheus, Jaeger and the others do, or as a test wants them to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from leeway.schema import Feature, FeatureSchema

Reply: TypeAlias = "tuple[int, object] | Callable[[str], tuple[int, object]]"
"""A status and what to answer, JSON unless it is text; or what makes both from the whole path."""

READY = {"status": "ok", "checks": {"bundle": "ok", "spool": "ok", "database": "ok"}}
PREDICTED: dict[str, Any] = {
    "prediction_id": "01a20877-0000-7000-8000-000000000001",
    "trace_id": "a" * 32,
    "recorded": True,
}
SCHEMA = FeatureSchema((Feature("age", "integer"),))


@dataclass
class Backend:
    """Answers by path, a query aside, or by its folder and `*`.

    `asked` holds each path that was asked for with its headers, in small letters.
    """

    replies: Mapping[str, Reply]
    date: str | None = None
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    """Many may ask at once."""

    request_queue_size = 64


@contextmanager
def backend(replies: Mapping[str, Reply], *, date: str | None = None, server_name: str = "leeway") -> Iterator[Backend]:
    """Serve until the block ends. `date` goes before the true one; `server_name` is who it says it is."""
    made = Backend(replies, date)

    class Handler(BaseHTTPRequestHandler):
        """Answers what it was told to."""

        def do_GET(self) -> None:
            """Answer."""
            made.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            path = self.path.partition("?")[0]
            folder = path[: path.rindex("/") + 1]
            reply = made.replies.get(path) or made.replies.get(folder + "*") or (404, {"detail": "nothing here"})
            status, content = reply(self.path) if callable(reply) else reply
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            """Read, and answer."""
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def version_string(self) -> str:
            """Who answers."""
            return server_name

        def date_time_string(self, timestamp: float | None = None) -> str:
            """The time that is told."""
            return super().date_time_string(timestamp) if made.date is None else made.date

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def babbler() -> Iterator[str]:
    """Yield the address of one that answers, and not in HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 mail.example.org ready\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@contextmanager
def trickler(answer: bytes, every_s: float, *, at_once: int = 0) -> Iterator[str]:
    """Yield the address of one that sends so many bytes, then one at a time, until the other goes away."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(answer[:at_once])
                for place in range(at_once, len(answer)):
                    connection.sendall(answer[place : place + 1])
                    if over.wait(every_s):
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def a_service(**changes: Reply) -> dict[str, Reply]:
    """What a service answers, as far as the doctor asks; each change by the last word of its path."""
    replies: dict[str, Reply] = {
        "/health/ready": (200, READY),
        "/model": (200, {"name": "churn", "version": "v1", **SCHEMA.to_json()}),
        "/openapi.json": (200, api()),
        "/predict": (200, PREDICTED),
    }
    return {path: changes.get(path.rpartition("/")[2].partition(".")[0], reply) for path, reply in replies.items()}


def api(*, knows_checks: bool = True) -> dict[str, Any]:
    """An OpenAPI document, as far as the doctor reads it."""
    parameters = [{"name": "leeway-synthetic", "in": "header"}] if knows_checks else []
    content = {"application/json": {"examples": {"typical": {"value": {"features": {"age": 40}}}}}}
    return {"paths": {"/predict": {"post": {"parameters": parameters, "requestBody": {"content": content}}}}}


def vector(*series: tuple[Mapping[str, str], float]) -> dict[str, Any]:
    """An answer of Prometheus to an instant query."""
    result = [{"metric": labels, "value": [1_795_437_626.1, str(value)]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def trace(spans: int, service: str = "leeway-service", **more: str) -> dict[str, Any]:
    """An answer of Jaeger for a trace; `more` is what its service says of itself."""
    told = {"service.name": service, "service.version": "0.1.0"}
    told |= {f"service.{name.replace('_', '.')}": value for name, value in more.items()}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in told.items()]
    scope = {"spans": [{"name": "POST /predict"}] * spans}
    return {"result": {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [scope]}]}}
