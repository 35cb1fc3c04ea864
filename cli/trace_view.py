"""What was seen, for a terminal: key metrics from `/metrics`, and one trace as a tree."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from leeway.telemetry import names
from leeway.telemetry.names import Metric

SHOWN = (
    names.HTTP_REQUEST_DURATION,
    names.PREDICTION_DURATION,
    names.INFERENCE_DURATION,
    names.LOOKUP_DURATION,
)


def key_metrics(text: str) -> Table:
    """Count, p50 and p99 of the histograms that matter, and the prediction log's counters, from Prometheus text."""
    table = Table("metric", "count", "p50", "p99", title="Key metrics", title_justify="left")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    for metric in SHOWN:
        buckets = _buckets(samples, metric)
        count = max(buckets.values(), default=0)
        table.add_row(metric.name, f"{count:,.0f}", *(_milliseconds(_quantile(buckets, q)) for q in (0.5, 0.99)))
    for metric in (names.LOG_SPOOLED, names.LOG_WRITTEN, names.LOG_UNRECORDED):
        total = sum(sample.value for sample in samples if sample.name == metric.prometheus_name)
        table.add_row(metric.name, f"{total:,.0f}", "", "")
    return table


def _buckets(samples: list[Any], metric: Metric) -> dict[float, float]:
    """Upper bound to cumulative count, summed over every label."""
    found: dict[float, float] = {}
    for sample in samples:
        if sample.name == f"{metric.prometheus_name}_bucket":
            bound = float(sample.labels["le"])
            found[bound] = found.get(bound, 0) + sample.value
    return dict(sorted(found.items()))


def _quantile(buckets: dict[float, float], quantile: float) -> float | None:
    """As Prometheus' histogram_quantile: linear within the bucket that holds the rank."""
    rank, lower, before = quantile * max(buckets.values(), default=0), 0.0, 0.0
    if not rank:
        return None
    for bound, cumulative in buckets.items():
        if cumulative >= rank:
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - before) / (cumulative - before)
        lower, before = bound, cumulative
    return None


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1_000:.2f} ms"


def trace_tree(spans_file: Path, trace_id: str) -> Tree:
    """One trace as a tree of its spans, each with its duration and what it says of itself."""
    spans = [span for span in _read(spans_file) if span["context"]["trace_id"] == f"0x{trace_id}"]
    own = {span["context"]["span_id"] for span in spans}
    tree = Tree(f"[bold]Trace {trace_id}[/]")

    def add(branch: Tree, parent: dict[str, Any]) -> None:
        leaf = branch.add(_describe(parent))
        for child in sorted((s for s in spans if s["parent_id"] == parent["context"]["span_id"]), key=_start):
            add(leaf, child)

    for root in (span for span in spans if span["parent_id"] not in own):
        add(tree, root)
    return tree


def wait_for_trace(spans_file: Path, trace_id: str, timeout_s: float = 5.0) -> None:
    """Wait until the trace's outermost span is in the file (spans are written twice a second), or the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if any(
            span["parent_id"] is None and span["context"]["trace_id"] == f"0x{trace_id}" for span in _read(spans_file)
        ):
            return
        time.sleep(0.1)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The spans that are whole: the last line may be half written."""
    with path.open() as file:
        yield from (json.loads(line) for line in file if line.endswith("\n"))


def _start(span: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(span["start_time"])


def _describe(span: dict[str, Any]) -> str:
    lasted_ms = (datetime.fromisoformat(span["end_time"]) - _start(span)).total_seconds() * 1_000
    shown = {name: value for name, value in span["attributes"].items() if name.startswith(("leeway.", "http.r"))}
    said = escape(", ".join(f"{name}={value}" for name, value in shown.items()))
    return f"[cyan]{escape(span['name'])}[/] {lasted_ms:.2f} ms  [dim]{said}[/]"
