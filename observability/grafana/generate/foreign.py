"""The metrics of Prometheus, the Collector and Jaeger that the dashboards use, as these programs export them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

JOB, EXPORTER = "job", "exporter"

UP: Final = "up"
SCRAPE_DURATION: Final = "scrape_duration_seconds"
SCRAPED_SAMPLES: Final = "scrape_samples_post_metric_relabeling"

SPAN_CALLS: Final = "traces_span_metrics_calls_total"
SPAN_DURATION: Final = "traces_span_metrics_duration_milliseconds"
"""The Collector's span metrics, in milliseconds."""
SPAN_SERVICE, SPAN_NAME = "service_name", "span_name"

ACCEPTED_SPANS: Final = "otelcol_receiver_accepted_spans"
ACCEPTED_POINTS: Final = "otelcol_receiver_accepted_metric_points"
REFUSED: Final = ("otelcol_receiver_refused_spans", "otelcol_receiver_refused_metric_points")
SEND_FAILED: Final = ("otelcol_exporter_send_failed_spans", "otelcol_exporter_send_failed_metric_points")
ENQUEUE_FAILED: Final = ("otelcol_exporter_enqueue_failed_spans", "otelcol_exporter_enqueue_failed_metric_points")
SENT_SPANS: Final = "otelcol_exporter_sent_spans"
QUEUE_SIZE: Final = "otelcol_exporter_queue_size"
QUEUE_CAPACITY: Final = "otelcol_exporter_queue_capacity"
COLLECTOR_MEMORY: Final = "otelcol_process_memory_rss"
COLLECTOR_CPU: Final = "otelcol_process_cpu_seconds"

JAEGER_STORED: Final = "otelcol_exporter_sent_spans_total"
JAEGER_FAILED: Final = "otelcol_exporter_send_failed_spans_total"
JAEGER_MEMORY: Final = "otelcol_process_memory_rss_bytes"
"""Jaeger is built on the Collector; its names for the same metrics have the unit and `_total` at the end."""

SERIES: Final = "prometheus_tsdb_head_series"
SAMPLES: Final = "prometheus_tsdb_head_samples_appended_total"
BLOCK_BYTES: Final = "prometheus_tsdb_storage_blocks_bytes"
LOG_BYTES: Final = "prometheus_tsdb_wal_storage_size_bytes"
EXEMPLARS: Final = "prometheus_tsdb_exemplar_exemplars_in_storage"
RULE_FAILURES: Final = "prometheus_rule_evaluation_failures_total"
RULE_DURATION: Final = "prometheus_rule_group_last_duration_seconds"
PROMETHEUS_MEMORY: Final = "process_resident_memory_bytes"


def of_spans(service: str, spans: Iterable[str]) -> str:
    """A selector for the span metrics of these spans of one service."""
    return f'{{{SPAN_SERVICE}="{service}", {SPAN_NAME}=~"{"|".join(spans)}"}}'


def of_job(name: str, job: str) -> str:
    """A metric of one scrape job."""
    return f'{name}{{{JOB}="{job}"}}'


def by(label: str, expression: str) -> str:
    """The sum by the label."""
    return f"sum by ({label}) ({expression})"
