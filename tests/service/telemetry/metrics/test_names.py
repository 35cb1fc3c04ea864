from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum

from leeway.telemetry import names
from tests.service.observed import Observed
from tests.service.telemetry.metrics.measured import OF_THE_SERVICE, samples

SERVICE_METRICS = pytest.mark.parametrize("metric", OF_THE_SERVICE, ids=lambda metric: metric.name)
HISTOGRAMS = pytest.mark.parametrize(
    "metric", [metric for metric in OF_THE_SERVICE if metric.kind == "histogram"], ids=lambda metric: metric.name
)
KINDS: dict[str, tuple[type, ...]] = {"histogram": (Histogram,), "counter": (Sum,), "gauge": (Gauge, Sum)}
"""What holds each kind in OTLP; a gauge may be a sum that goes up and down."""


@SERVICE_METRICS
def test_a_metric_is_exported_as_its_record_says(busy: Observed, metric: names.Metric) -> None:
    """In OTLP a metric has the name, unit, kind and description that `names` states."""
    found = busy.telemetry.collect().metrics[metric.name]
    assert isinstance(found.data, KINDS[metric.kind])
    assert found.unit == metric.unit
    assert metric.name.startswith("http.") or found.description == metric.description


@SERVICE_METRICS
def test_a_metric_has_no_attributes_but_those_of_its_record(busy: Observed, metric: names.Metric) -> None:
    """In OTLP a metric's series carry only attributes that `names` states."""
    points = busy.telemetry.collect().points(metric)
    assert points
    assert {key for point in points for key in point.attributes} <= {*metric.attributes, names.ERROR_TYPE}


def test_nothing_is_exported_that_has_no_record(busy: Observed) -> None:
    """The service emits exactly the metrics that are listed here, all of them from `names`."""
    assert set(busy.telemetry.collect().metrics) == {metric.name for metric in OF_THE_SERVICE}


@SERVICE_METRICS
def test_a_metric_has_its_prometheus_name(busy: Observed, metric: names.Metric) -> None:
    """In `/metrics` a metric has its `prometheus_name`, with the suffixes of its kind and nothing more."""
    suffixes = {"_bucket", "_sum", "_count"} if metric.kind == "histogram" else {""}
    assert {f"{metric.prometheus_name}{suffix}" for suffix in suffixes} <= samples(busy).keys()


@SERVICE_METRICS
def test_a_metric_has_its_kind_in_prometheus(busy: Observed, metric: names.Metric) -> None:
    """The TYPE line of `/metrics` states the kind."""
    assert f"# TYPE {metric.prometheus_name} {metric.kind}" in busy.client.get("/metrics").text.splitlines()


def test_nothing_stands_in_prometheus_that_has_no_record(busy: Observed) -> None:
    """`/metrics` holds no series but those of the listed metrics, and `target_info`."""
    known = {"target_info"}
    for metric in OF_THE_SERVICE:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        known |= {f"{metric.prometheus_name}{suffix}" for suffix in suffixes}
    assert samples(busy).keys() <= known


@HISTOGRAMS
def test_our_buckets_stand_in_prometheus(busy: Observed, metric: names.Metric) -> None:
    """`/metrics` holds one bucket for each bound of ours, and one for the rest."""
    bounds = {float(labels["le"]) for labels in samples(busy)[f"{metric.prometheus_name}_bucket"]}
    assert bounds == {*metric.buckets, float("inf")}
