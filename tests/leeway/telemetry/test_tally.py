from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer

from leeway.telemetry import names
from leeway.telemetry.instruments import our_views
from leeway.telemetry.tally import PreAggregatedHistogram, TalliedSum

METRIC = names.PREDICTION_SCORES
SCORES = [0.01, 0.02, 0.05, 0.051, 0.5, 0.93, 0.93, 0.93, 1.0]
ATTRIBUTES = {names.MODEL_VERSION: "v"}


@contextmanager
def measured(*more_readers: MetricReader) -> Iterator[tuple[Meter, InMemoryMetricReader]]:
    """A meter as our Views make it, and what reads it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader, *more_readers], views=our_views(), shutdown_on_exit=False)
    try:
        yield provider.get_meter("test"), reader
    finally:
        provider.shutdown()


@pytest.fixture
def tracer() -> Tracer:
    """Samples every trace."""
    return TracerProvider(shutdown_on_exit=False).get_tracer("test")


def metric(reader: InMemoryMetricReader) -> Any:  # noqa: ANN401 (the SDK's own)
    """The only metric that is exported."""
    data = reader.get_metrics_data()
    assert data is not None
    (found,) = data.resource_metrics[0].scope_metrics[0].metrics
    return found


def point(reader: InMemoryMetricReader, attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401 (as above)
    """The only data point with these attributes."""
    (found,) = [each for each in metric(reader).data.data_points if each.attributes == attributes]
    return found


# --- histograms -----------------------------------------------------------------------------------------------------


def test_a_tally_exports_what_the_sdk_would(tracer: Tracer) -> None:
    """Counts, extremes and exemplars equal those of the SDK's own histogram, the sum within rounding."""
    with measured() as (ours, first), measured() as (sdks, second):
        tallied, plain = PreAggregatedHistogram(ours, METRIC), sdks.create_histogram(METRIC.name)
        for score in SCORES:
            with tracer.start_as_current_span("request"):
                tallied.record(score, ATTRIBUTES)
                plain.record(score, ATTRIBUTES)
        found, expected = point(first, ATTRIBUTES), point(second, ATTRIBUTES)
    assert (found.count, found.bucket_counts) == (expected.count, expected.bucket_counts)
    assert (found.min, found.max) == (expected.min, expected.max)
    assert found.sum == pytest.approx(expected.sum)
    assert [(each.value, each.span_id) for each in found.exemplars] == [
        (each.value, each.span_id) for each in expected.exemplars
    ]


def test_many_at_once_leave_what_they_would_one_by_one() -> None:
    """A batch is counted as its rows would be."""
    with measured() as (one_by_one, first), measured() as (at_once, second):
        single = PreAggregatedHistogram(one_by_one, METRIC)
        for score in SCORES:
            single.record(score, ATTRIBUTES)
        PreAggregatedHistogram(at_once, METRIC).record_all(SCORES, ATTRIBUTES)
        expected, found = point(first, ATTRIBUTES), point(second, ATTRIBUTES)
    assert (found.bucket_counts, found.min, found.max) == (expected.bucket_counts, expected.min, expected.max)
    assert found.sum == pytest.approx(expected.sum)


def test_a_tally_adds_up_over_collections() -> None:
    """What comes after a collection is added to what came before it."""
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        histogram.record_all([0.2] * 10)
        reader.get_metrics_data()
        histogram.record_all([0.2] * 5)
        assert point(reader, {}).count == 15


def test_a_second_reader_is_told_the_same() -> None:
    """Where metrics are sent and served, what one reader has collected is not missing from the other."""
    other = InMemoryMetricReader()
    with measured(other) as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record_all([0.2] * 10)
        reader.get_metrics_data()
        assert point(other, {}).count == 10


def test_nothing_is_exported_but_the_histogram() -> None:
    """What asks for the tally at each collection has a name of its own, and shows under none."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record(0.2)
        assert metric(reader).name == METRIC.name


def test_a_sampled_measurement_is_shown_rather_than_a_later_one(tracer: Tracer) -> None:
    """An exemplar leads to a trace that was kept, though others came after it in its bucket."""
    unsampled = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        with tracer.start_as_current_span("kept") as kept:
            histogram.record(0.21)
        with unsampled.start_as_current_span("not kept"):
            histogram.record(0.22)
        (exemplar,) = point(reader, {}).exemplars
    assert (exemplar.trace_id, exemplar.value) == (kept.get_span_context().trace_id, 0.21)


def test_of_measurements_at_once_the_largest_is_shown(tracer: Tracer) -> None:
    """Each bucket that a batch fell into shows one of its rows."""
    with measured() as (meter, reader), tracer.start_as_current_span("batch"):
        PreAggregatedHistogram(meter, METRIC).record_all([0.22, 0.9, 0.23, 0.21])
        assert sorted(each.value for each in point(reader, {}).exemplars) == [0.23, 0.9]


def test_an_exemplar_has_the_time_of_its_measurement(tracer: Tracer) -> None:
    """Not that of the collection, which comes seconds later."""
    with measured() as (meter, reader):
        with tracer.start_as_current_span("request"):
            PreAggregatedHistogram(meter, METRIC).record(0.2)
        measured_before_ns = time.time_ns()
        (exemplar,) = point(reader, {}).exemplars
    assert exemplar.time_unix_nano <= measured_before_ns


def test_what_is_exported_is_plain_numbers(tracer: Tracer) -> None:
    """An exemplar, the smallest and the largest value can be written by any exporter."""
    with measured() as (meter, reader):
        with tracer.start_as_current_span("batch"):
            PreAggregatedHistogram(meter, names.UNUSUAL_FEATURES).record_all([2] * 10)
        found = point(reader, {})
        assert {type(value) for value in (found.exemplars[0].value, found.min, found.max, found.sum)} == {float}
        assert '"count": 10' in found.to_json()


def test_only_the_metrics_own_attributes_are_kept() -> None:
    """A client that invents a host makes no new series."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record(0.2, {**ATTRIBUTES, "server.address": "invented"})
        assert point(reader, ATTRIBUTES).count == 1


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0])
def test_what_is_no_measurement_is_left_out_and_said(amount: float, caplog: pytest.LogCaptureFixture) -> None:
    """A number that no histogram takes spoils none, and the SDK's warning names the instrument."""
    with measured() as (meter, reader), caplog.at_level(logging.WARNING):
        PreAggregatedHistogram(meter, METRIC).record_all([0.2, amount])
        assert (point(reader, {}).count, point(reader, {}).sum) == (1, 0.2)
    assert METRIC.name in caplog.text


def test_nothing_leaves_nothing() -> None:
    """A batch of none is no measurement."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record_all([])
        assert reader.get_metrics_data() is None


# --- sums -----------------------------------------------------------------------------------------------------------


def test_a_counter_is_there_before_it_counts() -> None:
    """Prometheus' `increase()` sees the first event only where a zero stood before it."""
    with measured() as (meter, reader):
        TalliedSum(meter, names.LOG_SPOOLED)
        assert point(reader, {}).value == 0


def test_a_counter_exports_all_it_counted() -> None:
    """The sum is that of every addition, as a monotonic one."""
    with measured() as (meter, reader):
        spooled = TalliedSum(meter, names.LOG_SPOOLED)
        spooled.add(3)
        reader.get_metrics_data()
        spooled.add(4)
        data = metric(reader).data
    assert ([each.value for each in data.data_points], data.is_monotonic) == ([7], True)


def test_a_gauge_goes_up_and_down_for_each_attribute() -> None:
    """What is counted down is no longer there, and the metric is no counter."""
    get, post = {names.HTTP_METHOD: "GET"}, {names.HTTP_METHOD: "POST"}
    with measured() as (meter, reader):
        active = TalliedSum(meter, names.HTTP_ACTIVE_REQUESTS)
        for amount, attributes in ((1, get), (1, post), (1, post), (-1, get)):
            active.add(amount, {**attributes, "url.scheme": "http"})
        data = metric(reader).data
    assert {each.attributes[names.HTTP_METHOD]: each.value for each in data.data_points} == {"GET": 0, "POST": 2}
    assert not data.is_monotonic
