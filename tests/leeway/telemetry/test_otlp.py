"""The two span exporters, each with a receiver of its protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc  # type: ignore[import-untyped] # it has no types
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from leeway.telemetry.otlp_grpc import GrpcSpanExporter
from leeway.telemetry.otlp_http import HttpSpanExporter

NAMES = ["score", "POST /predict"]


class Receiver(TraceServiceServicer):
    """Receives spans by either protocol; responds to HTTP with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.names: list[str] = []

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the names of the spans."""
        scopes = [scope for each in request.resource_spans for scope in each.scope_spans]
        self.names += [span.name for scope in scopes for span in scope.spans]

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802 (gRPC's)
        """Take spans by gRPC."""
        del context
        self.take(request)
        return ExportTraceServiceResponse()


@contextmanager
def over_http(receiver: Receiver) -> Iterator[HttpSpanExporter]:
    """Yield an exporter that sends to `receiver` over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield HttpSpanExporter(endpoint=f"http://127.0.0.1:{server.server_port}/v1/traces", timeout=2)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def over_grpc(receiver: Receiver) -> Iterator[GrpcSpanExporter]:
    """Yield an exporter that sends to `receiver` over gRPC."""
    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call] # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    exporter = GrpcSpanExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True, timeout=2)
    try:
        yield exporter
    finally:
        exporter.shutdown()
        server.stop(None).wait()


@pytest.fixture
def spans() -> tuple[ReadableSpan, ...]:
    """Two spans of two scopes."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for place, name in enumerate(NAMES):
        provider.get_tracer(f"scope {place}").start_span(name, attributes={"place": place}).end()
    return exporter.get_finished_spans()


@pytest.mark.parametrize("protocol", [over_http, over_grpc], ids=["http", "grpc"])
def test_spans_arrive(
    protocol: Callable[[Receiver], AbstractContextManager[SpanExporter]], spans: tuple[ReadableSpan, ...]
) -> None:
    """A receiver of the protocol reads every span of a batch, and the export succeeds."""
    receiver = Receiver()
    with protocol(receiver) as exporter:
        result = exporter.export(spans)
    assert (receiver.names, result) == (NAMES, SpanExportResult.SUCCESS)


def test_a_rejected_batch_is_a_failure(spans: tuple[ReadableSpan, ...]) -> None:
    """An error status of the receiver is a failed export."""
    with over_http(Receiver(status=400)) as exporter:
        assert exporter.export(spans) is SpanExportResult.FAILURE


def test_nothing_is_sent_after_shutdown(spans: tuple[ReadableSpan, ...]) -> None:
    """An exporter that was shut down opens no connection."""
    receiver = Receiver()
    with over_http(receiver) as exporter:
        exporter.shutdown()  # type: ignore[no-untyped-call] # the SDK's
        assert (exporter.export(spans), receiver.names) == (SpanExportResult.FAILURE, [])
