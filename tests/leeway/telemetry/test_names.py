from __future__ import annotations

import itertools
import re

import pytest

from leeway.telemetry import names

METRICS = pytest.mark.parametrize("metric", names.ALL, ids=lambda metric: metric.name)
HISTOGRAMS = pytest.mark.parametrize("metric", names.OUR_HISTOGRAMS, ids=lambda metric: metric.name)
OBJECTIVE_S = 0.05


def test_no_two_metrics_share_a_name() -> None:
    """Every metric has a name of its own."""
    assert len({metric.name for metric in names.ALL}) == len(names.ALL)


def test_no_two_metrics_share_a_name_in_prometheus() -> None:
    """Nor do two names become one on their way to Prometheus."""
    assert len({metric.prometheus_name for metric in names.ALL}) == len(names.ALL)


@METRICS
def test_a_prometheus_name_is_one(metric: names.Metric) -> None:
    """What we call a metric in Prometheus is a name there."""
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", metric.prometheus_name)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (names.HTTP_REQUEST_DURATION, "http_server_request_duration_seconds"),
        (names.PREDICTION_SCORES, "leeway_prediction_score"),
        (names.LOG_WRITTEN, "leeway_prediction_log_written_total"),
        (names.SPOOL_SIZE, "leeway_prediction_log_spool_size_bytes"),
        (names.DRIFT_SHARE, "leeway_drift_share"),
        (names.DRIFT_LAST_CYCLE, "leeway_drift_last_cycle_timestamp_seconds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_prometheus_name_follows_unit_and_kind(metric: names.Metric, expected: str) -> None:
    """Seconds and bytes are added, `_total` to a counter, and nothing for a unit in braces or 1."""
    assert metric.prometheus_name == expected


@METRICS
def test_a_unit_is_ucum(metric: names.Metric) -> None:
    """A unit is s, By, 1 or an annotation in braces."""
    assert metric.unit in {"s", "By", "1"} or re.fullmatch(r"\{[a-z]+\}", metric.unit)


@METRICS
def test_no_gauge_has_the_unit_1(metric: names.Metric) -> None:
    """The Collector would add `_ratio` to such a gauge, and Python's own `/metrics` would not."""
    assert not (metric.kind == "gauge" and metric.unit == "1")


@METRICS
def test_a_metric_says_what_it_is(metric: names.Metric) -> None:
    """Every metric has a description: one sentence."""
    assert metric.description.endswith(".")


@METRICS
def test_buckets_are_for_histograms(metric: names.Metric) -> None:
    """A histogram has buckets, nothing else has."""
    assert bool(metric.buckets) == (metric.kind == "histogram")


@HISTOGRAMS
def test_buckets_rise(metric: names.Metric) -> None:
    """Bucket bounds are in order, none twice."""
    assert all(low < high for low, high in itertools.pairwise(metric.buckets))


@pytest.mark.parametrize("metric", [names.HTTP_REQUEST_DURATION, names.PREDICTION_DURATION], ids=lambda m: m.name)
def test_the_latency_objective_is_a_bucket_bound(metric: names.Metric) -> None:
    """Whether an answer met the objective of 50 ms can be read from the buckets, without interpolation."""
    assert OBJECTIVE_S in metric.buckets


def test_all_holds_every_metric() -> None:
    """A metric that is added to the module is in `ALL`, and so meets these tests."""
    assert set(names.ALL) == {value for value in vars(names).values() if isinstance(value, names.Metric)}


def test_no_attribute_names_a_customer() -> None:
    """No attribute that we know is meant to hold who was asked for."""
    texts = [value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)]
    assert texts
    assert not [text for text in texts if re.search(r"user(?!_agent)|customer", text)]
