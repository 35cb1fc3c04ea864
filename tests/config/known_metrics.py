"""Every series that a rule or a dashboard may name, with its labels: ours, recorded ones, and what others showed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from leeway.telemetry import names
from tests.config.promql import Query, Selector, read_query

ROOT: Final = Path(__file__).parents[2]
RULES: Final = sorted((ROOT / "observability" / "prometheus" / "rules").glob("*.yaml"))

_TARGET: Final = {"job", "instance"}
_COLLECTOR_EXPORTER: Final = _TARGET | {"exporter"}
_COLLECTOR_RECEIVER: Final = _TARGET | {"receiver", "transport"}
_SPAN_METRICS: Final = _TARGET | {"service_name", "span_name", "span_kind", "status_code"}

OTHERS: Final[Mapping[str, set[str]]] = {
    # Prometheus, of every target and rule
    "up": _TARGET,
    "scrape_duration_seconds": _TARGET,
    "scrape_samples_scraped": _TARGET,
    "scrape_samples_post_metric_relabeling": _TARGET,
    "scrape_series_added": _TARGET,
    "ALERTS": {"alertname", "alertstate", "severity", "burn", "objective", "job", "instance"},
    "ALERTS_FOR_STATE": {"alertname", "severity"},
    # Prometheus 3.16.0, of itself
    "prometheus_rule_evaluation_failures_total": _TARGET | {"rule_group"},
    "prometheus_rule_evaluations_total": _TARGET | {"rule_group"},
    "prometheus_rule_group_last_duration_seconds": _TARGET | {"rule_group"},
    "prometheus_rule_group_interval_seconds": _TARGET | {"rule_group"},
    "prometheus_tsdb_head_series": _TARGET,
    "prometheus_tsdb_head_samples_appended_total": _TARGET | {"type"},
    "prometheus_tsdb_storage_blocks_bytes": _TARGET,
    "prometheus_tsdb_wal_storage_size_bytes": _TARGET,
    "prometheus_tsdb_head_chunks_storage_size_bytes": _TARGET,
    "prometheus_tsdb_exemplar_exemplars_in_storage": _TARGET,
    "prometheus_notifications_alertmanagers_discovered": _TARGET,
    "prometheus_notifications_dropped_total": _TARGET,
    "process_resident_memory_bytes": _TARGET,
    "process_cpu_seconds_total": _TARGET,
    "go_goroutines": _TARGET,
    # The Collector 0.161.0, of itself: no _total with its own reader
    "otelcol_receiver_accepted_spans": _COLLECTOR_RECEIVER,
    "otelcol_receiver_accepted_metric_points": _COLLECTOR_RECEIVER,
    "otelcol_receiver_refused_spans": _COLLECTOR_RECEIVER,
    "otelcol_receiver_refused_metric_points": _COLLECTOR_RECEIVER,
    "otelcol_receiver_failed_spans": _COLLECTOR_RECEIVER,
    "otelcol_receiver_failed_metric_points": _COLLECTOR_RECEIVER,
    "otelcol_exporter_sent_spans": _COLLECTOR_EXPORTER,
    "otelcol_exporter_sent_metric_points": _COLLECTOR_EXPORTER,
    "otelcol_exporter_send_failed_spans": _COLLECTOR_EXPORTER,
    "otelcol_exporter_send_failed_metric_points": _COLLECTOR_EXPORTER,
    "otelcol_exporter_enqueue_failed_spans": _COLLECTOR_EXPORTER,
    "otelcol_exporter_enqueue_failed_metric_points": _COLLECTOR_EXPORTER,
    "otelcol_exporter_queue_size": _COLLECTOR_EXPORTER | {"data_type"},
    "otelcol_exporter_queue_capacity": _COLLECTOR_EXPORTER | {"data_type"},
    "otelcol_process_uptime": _TARGET,
    "otelcol_process_memory_rss": _TARGET,
    "otelcol_process_cpu_seconds": _TARGET,
    "otelcol_process_runtime_heap_alloc_bytes": _TARGET,
    # The Collector, of the spans that pass it
    "traces_span_metrics_calls_total": _SPAN_METRICS,
    "traces_span_metrics_duration_milliseconds_bucket": _SPAN_METRICS | {"le"},
    "traces_span_metrics_duration_milliseconds_count": _SPAN_METRICS,
    "traces_span_metrics_duration_milliseconds_sum": _SPAN_METRICS,
    # The Collector, of every process that sends to it
    "target_info": _TARGET
    | {"service_version", "telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version"},
}
"""Of other programs, seen on the versions that compose.yaml pins."""


def our_series() -> dict[str, set[str]]:
    """Each series of `leeway.telemetry.names` with its labels."""
    series: dict[str, set[str]] = {}
    for metric in names.ALL:
        labels = _TARGET | {names.prometheus_label(each) for each in metric.attributes}
        if metric.kind == "histogram":
            # The views let error.type through on every histogram.
            labels |= {names.prometheus_label(names.ERROR_TYPE)}
            series[f"{metric.prometheus_name}_bucket"] = labels | {"le"}
            series |= {f"{metric.prometheus_name}_{part}": labels for part in ("count", "sum")}
        else:
            series[metric.prometheus_name] = labels
    return series


def rules_of(path: Path) -> list[dict[str, Any]]:
    """Every rule of a rule file, in order."""
    return [rule for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def recorded_series() -> dict[str, set[str]]:
    """Each recording rule's series, with the labels that its rules give it."""
    series: dict[str, set[str]] = {}
    for rule in (rule for path in RULES for rule in rules_of(path) if "record" in rule):
        given = set(rule.get("labels", {}))
        series[rule["record"]] = (
            series.get(rule["record"], set()) | given | labels_left(read_query(rule["expr"]), series)
        )
    return series


def labels_left(query: Query, recorded: Mapping[str, set[str]]) -> set[str]:
    """The labels that the result may have: those aggregated by, or else those of what is selected."""
    kept = {label for each in query.label_lists if each.keyword == "by" for label in each.labels}
    grouped = {selector for each in query.label_lists if each.keyword == "by" for selector in each.selectors}
    known = our_series() | dict(OTHERS) | dict(recorded)
    plain = [each for each in query.selectors if each not in grouped]
    return kept | query.made | {label for each in plain for label in known.get(str(each.metric), set())}


def known_series() -> dict[str, set[str]]:
    """Everything, name to labels."""
    return our_series() | recorded_series() | dict(OTHERS)


def complaints(text: str, known: Mapping[str, set[str]]) -> list[str]:
    """What `text` names and `known` has not: a metric, a label that its metric lacks, a bound that is no bucket's."""
    query = read_query(text)
    found = [f"no metric is called {each.metric}" for each in query.selectors if not _selected(each, known)]
    for selector in query.selectors:
        labels = _labels(selector, known)
        found += [
            f"{selector.metric} has no label {matcher.label}"
            for matcher in selector.matchers
            if matcher.label != "__name__" and matcher.label not in labels
        ]
        found += _no_bounds(selector)
    for each in query.label_lists:
        there = query.made | {"__name__"} | {label for one in each.selectors for label in _labels(one, known)}
        found += [f"{each.keyword} ({label}): nothing there has it" for label in each.labels if label not in there]
    return found


def _selected(selector: Selector, known: Mapping[str, set[str]]) -> list[str]:
    """The names that a selector chooses."""
    if selector.metric is not None:
        return [selector.metric] if selector.metric in known else []
    patterns = [each for each in selector.matchers if each.label == "__name__"]
    return [name for name in known if patterns and all(_fits(name, each.operator, each.value) for each in patterns)]


def _fits(name: str, operator: str, value: str) -> bool:
    equal = re.fullmatch(value, name) is not None if operator.endswith("~") else name == value
    return equal != operator.startswith("!")


def _labels(selector: Selector, known: Mapping[str, set[str]]) -> set[str]:
    return {label for name in _selected(selector, known) for label in known[name]}


def _no_bounds(selector: Selector) -> list[str]:
    """Bounds that our histograms do not have. Prometheus writes 1.0 where the code may say 1."""
    bounds = {
        f"{each.prometheus_name}_bucket": {*map(str, map(float, each.buckets)), "+Inf"} for each in names.OUR_HISTOGRAMS
    }
    named = bounds.get(str(selector.metric))
    if named is None:
        return []
    asked = [each.value for each in selector.matchers if each.label == "le" and not each.operator.endswith("~")]
    return [f"{selector.metric} has no bucket le={bound!r}" for bound in asked if bound not in named]
