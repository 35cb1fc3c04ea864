"""The service as a process of its own, and what it talks to: a Collector that takes everything, or one that hangs."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from leeway.model.bundle import Bundle

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
ALONE = ("-m", "service")
TWO_WORKERS = ("-m", "cli.main", "serve", "--workers", "2")
SUPERVISED = ("-m", "cli.main", "serve", "--supervise")


def environment(bundle: Bundle, folder: Path, **changes: str) -> dict[str, str]:
    """A service's environment: its files in `folder`, a free port, and no telemetry but `/metrics`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
    ours = {
        "LEEWAY_BUNDLE": str(bundle.folder),
        "LEEWAY_DATABASE_URL": f"sqlite:///{folder / 'leeway.db'}",
        "LEEWAY_SPOOL": str(folder / "spool.db"),
        "LEEWAY_PORT": "0",
    }
    return kept | ours | changes


class Server:
    """A service that runs, or is about to."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.out, self.err = folder / "out.log", folder / "err.log"

    @cached_property
    def url(self) -> str:
        """The address that the log tells; waits until something answers there."""

        def told() -> bool:
            assert self.process.poll() is None, self.err.read_text()
            return any("url" in entry for entry in self.log())

        assert eventually(told), self.out.read_text()
        url = next(str(entry["url"]) for entry in self.log() if "url" in entry)
        assert eventually(lambda: answers(url)), self.out.read_text()
        return url

    def ask(self, body: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
        """Ask for predictions, one after another, each on a new connection; return the answers."""
        with httpx2.Client(base_url=self.url, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
            return [client.post("/predict", json=body).raise_for_status().json() for _ in range(count)]

    def log(self) -> list[dict[str, Any]]:
        """The whole lines of its log so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def client(self) -> httpx2.Client:
        """A client with a connection of its own."""
        return httpx2.Client(base_url=self.url, timeout=WAIT_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Tell it to stop; return its exit code and the seconds that it took."""
        started_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        return code, time.monotonic() - started_s


@contextmanager
def running(folder: Path, env: dict[str, str], command: Sequence[str] = ALONE) -> Iterator[Server]:
    """Run a service, without waiting for it; it is gone at the end, whatever happened."""
    folder.mkdir(exist_ok=True)
    with (folder / "out.log").open("w") as out, (folder / "err.log").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=env, stdout=out, stderr=err, start_new_session=True
        )
    server = Server(process, folder)
    try:
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the group is ours alone
        process.wait()


def ended(env: dict[str, str], command: Sequence[str] = ALONE) -> subprocess.CompletedProcess[str]:
    """Run a service that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        return httpx2.get(f"{url}/health/live").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def eventually(condition: Callable[[], bool], wait_s: float = WAIT_S) -> bool:
    """Whether it comes true in time."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Sink:
    """A Collector, by HTTP: takes spans and metrics and keeps them."""

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
        """All spans that came."""
        return [span for each in list(self.resource_spans) for scope in each.scope_spans for span in scope.spans]

    def metrics(self, name: str) -> list[Metric]:
        """All exports of one metric that came."""
        return [
            metric
            for each in list(self.resource_metrics)
            for scope in each.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]

    def instances(self, name: str | None = None) -> set[str]:
        """The `service.instance.id` of all who sent metrics, or of those who sent the metric `name`."""
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
        """Takes POSTs."""

        def do_POST(self) -> None:
            """Keep one export, and say so."""
            body = self.rfile.read(int(self.headers["content-length"]))
            packed = self.headers.get("content-encoding") == "gzip"
            sink.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

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
    """Yield the address of one that listens and never says a word; connections wait, or are even accepted."""
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
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
