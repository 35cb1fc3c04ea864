"""A local OTLP receiver over HTTP that answers at once and counts what arrived, for one run of a benchmark.

`python -m benchmarks.serving.sink PORT`; `totals` asks it, after a measurement.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from benchmarks.serving.processes import free_port
from leeway.shutdown import stop_children

STOP_TIMEOUT_S = 20.0
REQUESTS, DROPPED = "http.server.request.duration", "leeway.telemetry.dropped"


class Totals(msgspec.Struct, frozen=True):
    """What arrived from the services named `leeway-service`, since the receiver's start.

    `requests` are those in the histogram of durations, `dropped` the spans that the services counted as dropped; both
    are as of their last export, and a service exports when it stops.
    """

    spans: int = 0
    requests: int = 0
    dropped: int = 0

    def since(self, before: Totals) -> Totals:
        """The difference from an earlier state."""
        return Totals(self.spans - before.spans, self.requests - before.requests, self.dropped - before.dropped)


class Sink:
    """Keeps batches of spans as they come, and of each process the last metrics, which are cumulative."""

    batches: ClassVar[list[bytes]] = []
    spans: ClassVar[Counter[str]] = Counter()
    metrics: ClassVar[dict[str, tuple[int, int]]] = {}

    @classmethod
    def take_metrics(cls, body: bytes) -> None:
        """Keep the totals of a process of the service."""
        for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            names = {pair.key: pair.value.string_value for pair in each.resource.attributes}
            if names.get("service.name") != "leeway-service":
                continue
            found = [metric for scope in each.scope_metrics for metric in scope.metrics]
            requests = sum(
                point.count for metric in found if metric.name == REQUESTS for point in metric.histogram.data_points
            )
            dropped = sum(
                point.as_int + int(point.as_double)
                for metric in found
                if metric.name == DROPPED
                for point in metric.sum.data_points
                if _is_of_traces(point.attributes)
            )
            cls.metrics[names["service.instance.id"]] = (requests, dropped)

    @classmethod
    def totals(cls) -> Totals:
        """Decode what has come."""
        while cls.batches:
            for each in ExportTraceServiceRequest.FromString(cls.batches.pop()).resource_spans:
                names = {pair.key: pair.value.string_value for pair in each.resource.attributes}
                cls.spans[names["service.name"]] += sum(len(scope.spans) for scope in each.scope_spans)
        requests, dropped = (sum(each) for each in zip(*cls.metrics.values(), strict=True)) if cls.metrics else (0, 0)
        return Totals(cls.spans["leeway-service"], requests, dropped)


def _is_of_traces(attributes: object) -> bool:
    pairs: list[KeyValue] = list(attributes)  # type: ignore[call-overload] # protobuf's repeated field
    return any(pair.value.string_value == "traces" for pair in pairs)


class Handler(BaseHTTPRequestHandler):
    """POST counts the telemetry received; GET answers with the totals."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep an export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            Sink.batches.append(body)
        elif self.path == "/v1/metrics":
            Sink.take_metrics(body)
        with suppress(ConnectionError):  # the exporter has given up, because this process was stopped
            self._answer(b"")

    def do_GET(self) -> None:
        """Answer with the totals so far."""
        self._answer(msgspec.json.encode(Sink.totals()))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""


class RunningSink:
    """The receiver's process."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    def totals(self) -> Totals:
        """What has arrived until now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=60) as answer:
            return msgspec.json.decode(answer.read(), type=Totals)


@contextmanager
def running_sink() -> Iterator[RunningSink]:
    """Run a receiver until the end of the block."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.serving.sink", str(port)])
    try:
        yield RunningSink(port, process.pid)
    finally:
        stop_children([process], STOP_TIMEOUT_S)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
