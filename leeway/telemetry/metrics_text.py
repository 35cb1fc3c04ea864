"""What `/metrics` answers: Prometheus' text format."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from opentelemetry.sdk.metrics.export import MetricReader

MetricsText: TypeAlias = Callable[[], tuple[bytes, str]]
"""Renders `/metrics`: its body and its content type."""


def prometheus_text() -> tuple[MetricReader, MetricsText]:
    """A reader, and what renders its metrics for Prometheus: one at a time, or two scrapes would mix their families."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 (5 MiB, where asked for)
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415 (as above)

    registry, lock = CollectorRegistry(), threading.Lock()

    def text() -> tuple[bytes, str]:
        with lock:
            return generate_latest(registry), CONTENT_TYPE_LATEST

    return PrometheusMetricReader(scope_info_enabled=False, registry=registry), text
