"""The metrics of Prometheus, the Collector and Jaeger that the dashboards use, as these programs export them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

JOB, EXPORTER, RECEIVER, TRANSPORT = "job", "exporter", "receiver", "transport"

UP: Final = "up"
SCRAPE_DURATION: Final = "scrape_duration_seconds"

SPAN_CALLS: Final = "traces_span_metrics_calls_total"
SPAN_DURATION: Final = "traces_span_metrics_duration_milliseconds"
"""The Collector's span metrics, in milliseconds."""
SPAN_SERVICE, SPAN_NAME = "service_name", "span_name"

COLLECTOR: Final = '{job="otel-collector"}'
JAEGER: Final = '{job="jaeger"}'
"""Jaeger is built on the Collector, and both have the same metrics."""

ACCEPTED_SPANS: Final = f"otelcol_receiver_accepted_spans_total{COLLECTOR}"
ACCEPTED_POINTS: Final = f"otelcol_receiver_accepted_metric_points_total{COLLECTOR}"
REFUSED: Final = (
    f"otelcol_receiver_refused_spans_total{COLLECTOR}",
    f"otelcol_receiver_refused_metric_points_total{COLLECTOR}",
)
SEND_FAILED: Final = (
    f"otelcol_exporter_send_failed_spans_total{COLLECTOR}",
    f"otelcol_exporter_send_failed_metric_points_total{COLLECTOR}",
)
ENQUEUE_FAILED: Final = (
    f"otelcol_exporter_enqueue_failed_spans_total{COLLECTOR}",
    f"otelcol_exporter_enqueue_failed_metric_points_total{COLLECTOR}",
)
SENT_SPANS: Final = f"otelcol_exporter_sent_spans_total{COLLECTOR}"
SENT_POINTS: Final = f"otelcol_exporter_sent_metric_points_total{COLLECTOR}"
QUEUE_SIZE: Final = f"otelcol_exporter_queue_size{COLLECTOR}"
QUEUE_CAPACITY: Final = f"otelcol_exporter_queue_capacity{COLLECTOR}"
COLLECTOR_MEMORY: Final = f"otelcol_process_memory_rss_bytes{COLLECTOR}"
COLLECTOR_CPU: Final = f"otelcol_process_cpu_seconds_total{COLLECTOR}"
COLLECTOR_UPTIME: Final = f"otelcol_process_uptime_seconds_total{COLLECTOR}"

JAEGER_STORED: Final = f"otelcol_exporter_sent_spans_total{JAEGER}"
JAEGER_FAILED: Final = f"otelcol_exporter_send_failed_spans_total{JAEGER}"
JAEGER_MEMORY: Final = f"otelcol_process_memory_rss_bytes{JAEGER}"
JAEGER_UPTIME: Final = f"otelcol_process_uptime_seconds_total{JAEGER}"

SERIES: Final = "prometheus_tsdb_head_series"
BLOCK_BYTES: Final = "prometheus_tsdb_storage_blocks_bytes"
LOG_BYTES: Final = "prometheus_tsdb_wal_storage_size_bytes"
EXEMPLARS: Final = "prometheus_tsdb_exemplar_exemplars_in_storage"
RULE_FAILURES: Final = "prometheus_rule_evaluation_failures_total"
RULE_DURATION: Final = "prometheus_rule_group_last_duration_seconds"
PROMETHEUS_MEMORY: Final = 'process_resident_memory_bytes{job="prometheus"}'
PROMETHEUS_START: Final = 'process_start_time_seconds{job="prometheus"}'


def of_spans(service: str, spans: Iterable[str]) -> str:
    """A selector for the span metrics of these spans of one service."""
    return f'{{{SPAN_SERVICE}="{service}", {SPAN_NAME}=~"{"|".join(spans)}"}}'


def by(expression: str, *labels: str) -> str:
    """The sum by the labels."""
    return f"sum by ({', '.join(labels)}) ({expression})"


def legend(*labels: str) -> str:
    """A legend with the values of these labels."""
    return " · ".join(f"{{{{{label}}}}}" for label in labels)
