"""Where telemetry goes without a Collector: Prometheus text for `/metrics`, a file, and standard output."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, MetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

MetricsText: TypeAlias = Callable[[], tuple[bytes, str]]
"""Renders `/metrics`: its body and its content type."""


def prometheus_text() -> tuple[MetricReader, MetricsText]:
    """A metric reader, and a function that renders its metrics for Prometheus, one call at a time.

    Two renderings at once would mix their metric families.
    """
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 (5 MiB, only if needed)
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415 (as above)

    registry, lock = CollectorRegistry(), threading.Lock()

    def text() -> tuple[bytes, str]:
        with lock:
            return generate_latest(registry), CONTENT_TYPE_LATEST

    return PrometheusMetricReader(scope_info_enabled=False, registry=registry), text


def console_span_exporter() -> SpanExporter:
    """Writes each span to standard output, as a line of the SDK's JSON."""
    return ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: f"{span.to_json(indent=None)}\n")


def console_metric_exporter() -> MetricExporter:
    """Writes each collection of metrics to standard output, as a line of the SDK's JSON."""
    return ConsoleMetricExporter(out=sys.stdout, formatter=lambda metrics: f"{metrics.to_json(indent=None)}\n")


class SpansFileExporter(SpanExporter):
    """Appends each span to a file, as a line of the SDK's JSON. Several processes may share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append all lines in one write, so that those of several processes do not mix. A full disk loses spans."""
        lines = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        try:
            self._file.write(lines.encode("utf-8", "backslashreplace"))
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()
