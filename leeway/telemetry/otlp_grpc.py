"""The SDK's exporters over gRPC: our encoding of spans, and what the SDK does not read from the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from leeway.telemetry.environment import Signal, setting_of, timeout_s
from leeway.telemetry.span_buffer import EncodedSpanExporter
from leeway.telemetry.span_encoding import EncodedSpans, encode

GrpcMetricExporter = OTLPMetricExporter
_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def options(signal: Signal) -> dict[str, Any]:
    """Arguments of an exporter whose variables the SDK reads differently from the specification.

    It raises on the compression `none`, and ignores a client's certificate unless a server's is set as well.
    """
    return {
        "timeout": timeout_s(signal),
        "compression": _COMPRESSIONS.get(setting_of(signal, "COMPRESSION"), grpc.Compression.NoCompression),
        "credentials": _credentials(signal),
    }


def _credentials(signal: Signal) -> grpc.ChannelCredentials:
    """What a channel with TLS uses; one without ignores it."""
    trusted, chain, key = (
        Path(path).read_bytes() if (path := setting_of(signal, name)) else None
        for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    )
    return grpc.ssl_channel_credentials(trusted, (key or chain) if chain else None, chain)


class GrpcSpanExporter(OTLPSpanExporter, EncodedSpanExporter):
    """Sends spans as OTLP over gRPC."""

    def export_encoded(self, spans: EncodedSpans) -> SpanExportResult:
        """Send encoded spans."""
        return self._export(spans)  # type: ignore[arg-type] # `_translate_data` and `_count_data` take both

    def _count_data(self, data: Sequence[ReadableSpan] | EncodedSpans) -> int:
        return data.count if isinstance(data, EncodedSpans) else len(data)

    def _translate_data(self, data: Sequence[ReadableSpan] | EncodedSpans) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        request.ParseFromString(data.request if isinstance(data, EncodedSpans) else encode(data))
        return request
