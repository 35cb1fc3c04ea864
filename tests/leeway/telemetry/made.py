"""Reads exporters, timeouts and resource of providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from leeway.telemetry.otlp_http import HttpSpanExporter
from leeway.telemetry.providers import Providers

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NOWHERE = "http://127.0.0.1:9"

Start = Callable[..., Providers]


def span_exporters(made: Providers) -> list[Any]:
    """The exporters of spans."""
    assert isinstance(made.tracer_provider, TracerProvider)
    processors: Any = made.tracer_provider._active_span_processor._span_processors
    return [each.span_exporter for each in processors if hasattr(each, "span_exporter")]


def metric_exporters(made: Providers) -> list[Any]:
    """The exporters of metrics."""
    assert isinstance(made.meter_provider, MeterProvider)
    readers: Any = made.meter_provider._measurement_consumer._reader_storages
    return [reader._exporter for reader in readers if hasattr(reader, "_exporter")]


def collect(made: Providers) -> None:
    """Collect and export all metrics now."""
    assert isinstance(made.meter_provider, MeterProvider)
    for reader in list(made.meter_provider._measurement_consumer._reader_storages):
        reader.collect()


def timeout_of(exporter: Any) -> float:  # noqa: ANN401 (four classes without a common base)
    """The timeout of one export in seconds."""
    return float((exporter._client if type(exporter) in {HttpSpanExporter, OTLPMetricExporter} else exporter)._timeout)


def resource_of(made: Providers) -> dict[str, Any]:
    """The resource's attributes."""
    assert isinstance(made.tracer_provider, TracerProvider)
    return dict(made.tracer_provider.resource.attributes)
