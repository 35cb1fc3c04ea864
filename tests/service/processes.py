"""The service as a process of its own, and a Collector for it: one that takes everything, or one that hangs."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from leeway.model.bundle import Bundle
from tests import preloaded

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
ALONE = ("-m", "cli.main", "serve")
TWO_WORKERS = ("-m", "cli.main", "serve", "--workers", "2")
SUPERVISED = ("-m", "cli.main", "serve", "--supervise")
SHUTDOWN_S = 15.0
Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"
QUICK_EXPORT = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Export often, so that tests need not wait."""


def environment(bundle: Bundle, folder: Path, **changes: str) -> dict[str, str]:
    """A service's environment: its files in `folder`, a free port, and no telemetry but `/metrics`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
    ours = {
        "LEEWAY_BUNDLE": str(bundle.folder),
        "LEEWAY_DATABASE_URL": f"sqlite:///{folder / 'leeway.db'}",
        "LEEWAY_SPOOL": str(folder / "spool"),
        "LEEWAY_PORT": "0",
    }
    return kept | ours | changes


def start_python(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 (handed on)
    """Start the command in a new interpreter, which imports everything itself."""
    return subprocess.Popen([sys.executable, *command], **options)


class Server:
    """A service that runs or starts."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.out, self.err = folder / "out.log", folder / "err.log"

    @cached_property
    def url(self) -> str:
        """The address in the log; waits until the service answers there."""

        def is_logged() -> bool:
            assert self.process.poll() is None, self.err.read_text()
            return any("url" in entry for entry in self.log())

        assert eventually(is_logged), self.out.read_text()
        url = next(str(entry["url"]) for entry in self.log() if "url" in entry)
        assert eventually(lambda: answers(url)), self.out.read_text()
        return url

    def ask(self, body: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
        """Send `count` predictions in turn, each on a new connection; return the answers."""
        with httpx2.Client(base_url=self.url, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
            return [client.post("/predict", json=body).raise_for_status().json() for _ in range(count)]

    def log(self) -> list[dict[str, Any]]:
        """The complete lines of its log so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def client(self) -> httpx2.Client:
        """A client with a connection of its own."""
        return httpx2.Client(base_url=self.url, timeout=WAIT_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal; return the exit code and the seconds until the exit."""
        started_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        return code, time.monotonic() - started_s


@contextmanager
def running(
    folder: Path, env: dict[str, str], command: Sequence[str] = ALONE, start: Start = preloaded.start
) -> Iterator[Server]:
    """Start a service without waiting for it; it is gone at the end."""
    folder.mkdir(exist_ok=True)
    with (folder / "out.log").open("w") as out, (folder / "err.log").open("w") as err:
        process = start(command, cwd=ROOT, env=env, stdout=out, stderr=err, start_new_session=True)
    server = Server(process, folder)
    try:
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the group is ours alone
        process.wait()


def ended(env: dict[str, str], command: Sequence[str] = ALONE) -> subprocess.CompletedProcess[str]:
    """Run a service that ends by itself."""
    return preloaded.run(command, cwd=ROOT, env=env, timeout=WAIT_S)


def rows_by_id(database: Path) -> Counter[str]:
    """How often each prediction is stored in the database; nothing while it has no table."""
    if not database.is_file():
        return Counter()
    with closing(sqlite3.connect(database)) as connection:
        try:
            return Counter(row[0] for row in connection.execute("SELECT prediction_id FROM predictions"))
        except sqlite3.OperationalError:
            return Counter()


def starts(server: Server) -> set[str]:
    """The log messages of processes that started to serve."""
    return {line["message"] for line in server.log() if line["message"].startswith("Started server process")}


def pid_of(message: str) -> int:
    """The process id in `Started server process [123]`."""
    return int(message.partition("[")[2].rstrip("]"))


def answers(url: str) -> bool:
    """Whether a service answers at `url`."""
    try:
        return httpx2.get(f"{url}/health/live").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def eventually(condition: Callable[[], bool], wait_s: float = WAIT_S) -> bool:
    """Whether `condition` becomes true in time."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Sink:
    """A Collector that keeps the spans and metrics that it receives by HTTP."""

    def __init__(self) -> None:
        self.resource_spans: list[ResourceSpans] = []
        self.resource_metrics: list[ResourceMetrics] = []

    def take(self, path: str, body: bytes) -> None:
        """Decode one export and keep it."""
        if path == "/v1/traces":
            self.resource_spans.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
        elif path == "/v1/metrics":
            self.resource_metrics.extend(ExportMetricsServiceRequest.FromString(body).resource_metrics)

    def spans(self) -> list[Span]:
        """All received spans."""
        return [span for each in list(self.resource_spans) for scope in each.scope_spans for span in scope.spans]

    def metrics(self, name: str) -> list[Metric]:
        """All received exports of one metric."""
        return [
            metric
            for each in list(self.resource_metrics)
            for scope in each.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]

    def instances(self, name: str | None = None) -> set[str]:
        """The `service.instance.id` of all processes that sent metrics, or that sent the metric `name`."""
        return {
            attribute.value.string_value
            for each in list(self.resource_metrics)
            if name is None or any(metric.name == name for scope in each.scope_metrics for metric in scope.metrics)
            for attribute in each.resource.attributes
            if attribute.key == "service.instance.id"
        }


@contextmanager
def otlp_sink() -> Iterator[tuple[Sink, str]]:
    """Yield a sink and its address."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        """Answers POST requests."""

        def do_POST(self) -> None:
            """Keep one export and answer 200."""
            body = self.rfile.read(int(self.headers["content-length"]))
            packed = self.headers.get("content-encoding") == "gzip"
            sink.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent_listener(*, accepts: bool) -> Iterator[str]:
    """Yield the address of a listener that never answers; it leaves connections waiting, or accepts them."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return  # closed

        thread = threading.Thread(target=accept)
        if accepts:
            thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            if accepts:
                thread.join()
            for connection in taken:
                connection.close()


def closed_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
