"""The SDK's span exporter over gRPC, with our encoding."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from leeway.telemetry.span_encoding import encode


class GrpcSpanExporter(OTLPSpanExporter):
    """Sends spans as OTLP over gRPC."""

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        request.ParseFromString(encode(data))
        return request
