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

from leeway.telemetry.environment import Signal, setting_of, timeout_s
from leeway.telemetry.span_encoding import encode

GrpcMetricExporter = OTLPMetricExporter
_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def options(signal: Signal) -> dict[str, Any]:
    """The arguments of an exporter that the SDK itself would read otherwise than the specification says.

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


class GrpcSpanExporter(OTLPSpanExporter):
    """Sends spans as OTLP over gRPC."""

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        request.ParseFromString(encode(data))
        return request
