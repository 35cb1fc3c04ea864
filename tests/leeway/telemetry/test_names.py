from __future__ import annotations

import itertools
import re

import pytest

from leeway.telemetry import names

OBJECTIVE_S = 0.05


def test_names_are_unique() -> None:
    """No two metrics have the same name, neither here nor in Prometheus."""
    assert len({metric.name for metric in names.ALL}) == len(names.ALL)
    assert len({metric.prometheus_name for metric in names.ALL}) == len(names.ALL)


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
def test_a_prometheus_name_follows_from_unit_and_kind(metric: names.Metric, expected: str) -> None:
    """Seconds and bytes are appended, `_total` for a counter, and nothing for 1 or a unit in braces."""
    assert metric.prometheus_name == expected


def test_prometheus_names_are_valid() -> None:
    """Each has only the characters that Prometheus allows."""
    assert [each for each in names.ALL if not re.fullmatch(r"[a-z_][a-z0-9_]*", each.prometheus_name)] == []


def test_units_are_ucum() -> None:
    """A unit is s, By, 1 or an annotation in braces."""
    assert [each for each in names.ALL if not re.fullmatch(r"s|By|1|\{[a-z]+\}", each.unit)] == []


def test_no_gauge_has_the_unit_1() -> None:
    """The Collector would append `_ratio` to its name, and Python's own `/metrics` would not."""
    assert [each for each in names.ALL if each.kind == "gauge" and each.unit == "1"] == []


def test_every_metric_has_a_description() -> None:
    """It is a sentence."""
    assert [each for each in names.ALL if not each.description.endswith(".")] == []


def test_histograms_and_only_they_have_buckets() -> None:
    """The bounds are in ascending order."""
    assert [each for each in names.ALL if bool(each.buckets) != (each.kind == "histogram")] == []
    assert all(low < high for each in names.OUR_HISTOGRAMS for low, high in itertools.pairwise(each.buckets))


@pytest.mark.parametrize("metric", [names.HTTP_REQUEST_DURATION, names.PREDICTION_DURATION], ids=lambda m: m.name)
def test_the_latency_objective_is_a_bucket_bound(metric: names.Metric) -> None:
    """Buckets show without interpolation whether a response met the objective of 50 ms."""
    assert OBJECTIVE_S in metric.buckets


def test_all_has_every_metric() -> None:
    """A metric that is added to the module is in `ALL`, and so in these tests."""
    assert set(names.ALL) == {value for value in vars(names).values() if isinstance(value, names.Metric)}


def test_no_attribute_identifies_a_customer() -> None:
    """No attribute is meant for customers or users."""
    texts = [value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)]
    assert texts
    assert not [text for text in texts if re.search(r"user(?!_agent)|customer", text)]
