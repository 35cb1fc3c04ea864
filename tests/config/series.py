"""Which series exist, with their labels, and what is wrong with a PromQL query that names others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import yaml

from leeway.telemetry import names

ROOT: Final = Path(__file__).parents[2]
RULES: Final = sorted((ROOT / "observability" / "prometheus" / "rules").glob("*.yaml"))

load_yaml = partial(yaml.load, Loader=yaml.CSafeLoader)
"""Read YAML with libyaml: `safe_load` takes seconds for the rules and their tests, in each test process."""

_TARGET: Final = {"job", "instance"}
_COLLECTOR_EXPORTER: Final = _TARGET | {"exporter"}
_COLLECTOR_RECEIVER: Final = _TARGET | {"receiver", "transport"}
_SPAN_METRICS: Final = _TARGET | {"service_name", "span_name", "span_kind", "status_code"}

OTHERS: Final[Mapping[str, set[str]]] = {
    # Prometheus, about each target and rule
    "up": _TARGET,
    "scrape_duration_seconds": _TARGET,
    "scrape_samples_scraped": _TARGET,
    "scrape_samples_post_metric_relabeling": _TARGET,
    "scrape_series_added": _TARGET,
    "ALERTS": {"alertname", "alertstate", "severity", "burn", "objective", "job", "instance"},
    "ALERTS_FOR_STATE": {"alertname", "severity"},
    # Prometheus 3.16.0, about itself
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
    "process_start_time_seconds": _TARGET,
    "go_goroutines": _TARGET,
    # The Collector 0.161.0 and Jaeger 2.13.0, which is built on it, about themselves: `job` tells them apart
    "otelcol_receiver_accepted_spans_total": _COLLECTOR_RECEIVER,
    "otelcol_receiver_accepted_metric_points_total": _COLLECTOR_RECEIVER,
    "otelcol_receiver_refused_spans_total": _COLLECTOR_RECEIVER,
    "otelcol_receiver_refused_metric_points_total": _COLLECTOR_RECEIVER,
    "otelcol_receiver_failed_spans_total": _COLLECTOR_RECEIVER,
    "otelcol_receiver_failed_metric_points_total": _COLLECTOR_RECEIVER,
    "otelcol_exporter_sent_spans_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_sent_metric_points_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_send_failed_spans_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_send_failed_metric_points_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_enqueue_failed_spans_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_enqueue_failed_metric_points_total": _COLLECTOR_EXPORTER,
    "otelcol_exporter_queue_size": _COLLECTOR_EXPORTER | {"data_type"},
    "otelcol_exporter_queue_capacity": _COLLECTOR_EXPORTER | {"data_type"},
    "otelcol_process_uptime_seconds_total": _TARGET,
    "otelcol_process_memory_rss_bytes": _TARGET,
    "otelcol_process_cpu_seconds_total": _TARGET,
    "otelcol_process_runtime_heap_alloc_bytes": _TARGET,
    # The Collector, span metrics
    "traces_span_metrics_calls_total": _SPAN_METRICS,
    "traces_span_metrics_duration_milliseconds_bucket": _SPAN_METRICS | {"le"},
    "traces_span_metrics_duration_milliseconds_count": _SPAN_METRICS,
    "traces_span_metrics_duration_milliseconds_sum": _SPAN_METRICS,
    # The Collector, about each process that sends to it
    "target_info": _TARGET
    | {"service_version", "telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version"},
}
"""Series of other programs, as observed on the versions that compose.yaml pins."""


def our_series() -> dict[str, set[str]]:
    """Each series of `leeway.telemetry.names` with its labels."""
    series: dict[str, set[str]] = {}
    for metric in names.ALL:
        labels = _TARGET | {names.prometheus_label(each) for each in metric.attributes}
        if metric.kind == "histogram":
            # The views keep error.type on every histogram.
            labels |= {names.prometheus_label(names.ERROR_TYPE)}
            series[f"{metric.prometheus_name}_bucket"] = labels | {"le"}
            series |= {f"{metric.prometheus_name}_{part}": labels for part in ("count", "sum")}
        else:
            series[metric.prometheus_name] = labels
    return series


def rules_of(path: Path) -> list[dict[str, Any]]:
    """The rules of a rule file, in order."""
    return [rule for group in load_yaml(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


@cache
def known_series() -> dict[str, set[str]]:
    """All series with their labels: ours, those of other programs, and those that rules record."""
    series = our_series() | dict(OTHERS)
    recorded: dict[str, set[str]] = {}
    for rule in (rule for path in RULES for rule in rules_of(path) if "record" in rule):
        query = Query(rule["expr"], series | recorded)
        recorded[rule["record"]] = recorded.get(rule["record"], set()) | set(rule.get("labels", {})) | query.labels
    return series | recorded


def complaints(text: str) -> list[str]:
    """The metrics, labels and bucket bounds in a query that do not exist."""
    return Query(text, known_series()).complaints


class Query:
    """A PromQL query held to the known series.

    Attributes:
        selectors: all selectors in the query.
        labels: the labels that the result may have.
        complaints: what the query names that does not exist.

    Raises:
        ValueError: the text is not PromQL.
    """

    def __init__(self, text: str, known: Mapping[str, set[str]]) -> None:
        self._known = known
        self.complaints: list[str] = []
        self.selectors: list[promql.VectorSelector] = []
        self.labels = self._labels(promql.parse(_without_variables(text)))

    def _labels(self, expr: Any) -> set[str]:  # noqa: ANN401 (each kind of expression has a class of its own)
        match expr:
            case promql.VectorSelector():
                return self._selected(expr)
            case promql.MatrixSelector():
                return self._selected(expr.vector_selector)
            case promql.Call():
                return self._called(expr)
            case promql.AggregateExpr():
                return self._aggregated(expr)
            case promql.BinaryExpr():
                return self._combined(expr)
        return self._labels(expr.expr) if hasattr(expr, "expr") else set()  # (a), -a, a[1h:30s]; a number

    def _selected(self, selector: promql.VectorSelector) -> set[str]:
        self.selectors.append(selector)
        chosen = [name for name in self._known if _chooses(selector, name)]
        if not chosen:
            self.complaints.append(f"unknown metric {str(selector).removesuffix('{}')}")
            return set()
        labels = {label for name in chosen for label in self._known[name]}
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels | {"__name__"}:
                self.complaints.append(f"{selector.name} has no label {matcher.name}")
            elif matcher.name == "le" and matcher.op == promql.MatchOp.Equal and not _is_bound(chosen, matcher.value):
                self.complaints.append(f"{selector.name} has no bucket {matcher.value}")
        return labels

    def _called(self, call: promql.Call) -> set[str]:
        labels = {label for each in call.args for label in self._labels(each)}
        match call.func.name:
            case "absent" | "absent_over_time" | "scalar":
                return set()
            case "histogram_quantile":
                return labels - {"le"}
            case "label_replace" | "label_join":
                return labels | {call.args[1].val}
        return labels

    def _aggregated(self, expr: promql.AggregateExpr) -> set[str]:
        labels = self._labels(expr.expr)
        if expr.modifier is None:
            return labels if str(expr.op) in {"topk", "bottomk"} else set()
        named = set(expr.modifier.labels)
        self._expect(named, labels, "by")
        return named if expr.modifier.type == promql.AggModifierType.By else labels - named

    def _combined(self, expr: promql.BinaryExpr) -> set[str]:
        left, right = self._labels(expr.lhs), self._labels(expr.rhs)
        matching = expr.modifier.matching if expr.modifier else None
        copied = set(expr.modifier.group_labels or ()) if expr.modifier else set()
        self._expect({*(matching.labels if matching else ()), *copied}, left | right, "on")
        match str(expr.op):
            case "and" | "unless":
                return left
            case "or":
                return left | right
        if matching and expr.modifier and expr.modifier.card == promql.VectorMatchCardinality.OneToOne:
            on = set(matching.labels)
            return on if matching.type == promql.LabelModifierType.Include else left - on
        return left | right

    def _expect(self, named: set[str], labels: set[str], keyword: str) -> None:
        unknown = sorted(named - labels - {"__name__"})
        self.complaints += [f"{keyword} ({label}): no series has this label" for label in unknown]


def label_values(selector: promql.VectorSelector, label: str) -> Iterator[str]:
    """The alternatives `a` and `b` that a selector names for a label: `label="a"`, `label=~"a|b"`."""
    for matcher in selector.matchers.matchers:
        if matcher.name == label:
            yield from matcher.value.split("|")


def _without_variables(text: str) -> str:
    """The query with Grafana's variables for durations filled in; others are inside of strings."""
    return re.sub(r"\$(window|__rate_interval|__interval|__range)\b", "5m", text)


def _chooses(selector: promql.VectorSelector, name: str) -> bool:
    if selector.name is not None:
        return bool(name == selector.name)
    patterns = [each for each in selector.matchers.matchers if each.name == "__name__"]
    return bool(patterns) and all(re.fullmatch(each.value, name) for each in patterns)


def _is_bound(chosen: list[str], bound: str) -> bool:
    """Whether our histograms have this bucket. Prometheus writes 1.0 where the code may have 1."""
    ours = {f"{each.prometheus_name}_bucket": each.buckets for each in names.OUR_HISTOGRAMS}
    return all(bound in {*map(str, map(float, ours[name])), "+Inf"} for name in chosen if name in ours)
