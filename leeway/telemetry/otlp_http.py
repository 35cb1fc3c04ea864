"""The SDK's span exporter over HTTP, with our encoding."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE

from leeway.telemetry.span_buffer import EncodedSpanExporter
from leeway.telemetry.span_encoding import EncodedSpans, encode


class HttpSpanExporter(OTLPSpanExporter, EncodedSpanExporter):
    """Sends spans as OTLP over HTTP."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        return self.export_encoded(EncodedSpans(encode(spans), len(spans)))

    def export_encoded(self, spans: EncodedSpans) -> SpanExportResult:
        """Send encoded spans; the SDK's own client retries, within its timeout."""
        if self._shutdown:
            return SpanExportResult.FAILURE
        with self._metrics.export_operation(spans.count) as result:
            sent = self._client.export(spans.request)
            result.error = sent.error
            if not sent.success and sent.status_code is not None:
                result.error_attrs = {HTTP_RESPONSE_STATUS_CODE: sent.status_code}
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE
