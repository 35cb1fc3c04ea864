"""A local OTLP receiver over HTTP that answers at once and counts spans; `serve.py` runs it."""

import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Sink(BaseHTTPRequestHandler):
    """POST keeps a batch; GET decodes them and counts the spans of the service in the path, after the measurement."""

    protocol_version = "HTTP/1.1"
    batches: ClassVar[list[bytes]] = []
    spans: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """Keep a batch of spans; ignore metrics."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            Sink.batches.append(body)
        self._answer(b"")

    def do_GET(self) -> None:
        """Answer with the number of spans so far."""
        while Sink.batches:
            for each in ExportTraceServiceRequest.FromString(Sink.batches.pop()).resource_spans:
                names = {pair.key: pair.value.string_value for pair in each.resource.attributes}
                Sink.spans[names["service.name"]] += sum(len(scope.spans) for scope in each.scope_spans)
        self._answer(str(Sink.spans[self.path.strip("/")]).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
