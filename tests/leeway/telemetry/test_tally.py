from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
from leeway.telemetry.tally import MAX_WAITING, PreAggregatedHistogram, TalliedSum

METRIC = names.PREDICTION_SCORES
SCORES = [0.01, 0.02, 0.05, 0.051, 0.5, 0.93, 0.93, 0.93, 1.0]
ATTRIBUTES = {names.MODEL_VERSION: "v"}


@contextmanager
def measured(*more_readers: MetricReader) -> Iterator[tuple[Meter, InMemoryMetricReader]]:
    """A meter with our Views, and its reader."""
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
    """The only exported metric."""
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


def test_recording_at_once_equals_one_by_one() -> None:
    """A batch is counted like its rows."""
    with measured() as (one_by_one, first), measured() as (at_once, second):
        single = PreAggregatedHistogram(one_by_one, METRIC)
        for score in SCORES:
            single.record(score, ATTRIBUTES)
        PreAggregatedHistogram(at_once, METRIC).record_all(SCORES, ATTRIBUTES)
        expected, found = point(first, ATTRIBUTES), point(second, ATTRIBUTES)
    assert (found.bucket_counts, found.min, found.max) == (expected.bucket_counts, expected.min, expected.max)
    assert found.sum == pytest.approx(expected.sum)


def test_measurements_that_wait_are_counted_like_others() -> None:
    """Those that are recorded together for a known series, and those before and after them, end in one distribution."""
    ids, amounts = (bytes(15) + b"t", bytes(7) + b"s"), SCORES * MAX_WAITING
    with measured() as (ours, first), measured() as (sdks, second):
        tallied, plain = PreAggregatedHistogram(ours, METRIC), sdks.create_histogram(METRIC.name)
        series = tallied.series(ATTRIBUTES)
        for part in (amounts, amounts[:5]):
            tallied.record_each(series, part, [ids] * len(part), 1_000)
            tallied.record(0.93, ATTRIBUTES)
        for amount in [*amounts, *amounts[:5], 0.93, 0.93]:
            plain.record(amount, ATTRIBUTES)
        found, expected = point(first, ATTRIBUTES), point(second, ATTRIBUTES)
    assert (found.count, found.bucket_counts) == (expected.count, expected.bucket_counts)
    assert (found.min, found.max, found.sum) == (expected.min, expected.max, pytest.approx(expected.sum))
    assert {(each.trace_id, each.span_id, each.time_unix_nano) for each in found.exemplars} == {
        (ord("t"), ord("s"), 1_000)
    }


def test_the_exemplar_of_waiting_measurements_is_a_sampled_one() -> None:
    """It is the largest of its bucket that has a span; a bucket without any has no exemplar."""
    first, second = (bytes(15) + b"t", bytes(7) + b"s"), (bytes(15) + b"t", bytes(7) + b"u")
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        histogram.record_each(histogram.series(), [0.21, 0.22, 0.23], [first, second, None], 1)
        histogram.record_each(histogram.series(), [0.91, 0.92], [None, None], 2)
        found = {each.value: each.span_id for each in point(reader, {}).exemplars}
    assert found == {0.22: ord("u")}


def test_a_tally_adds_up_over_collections() -> None:
    """Measurements after a collection are added to those before it."""
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        histogram.record_all([0.2] * 10)
        reader.get_metrics_data()
        histogram.record_all([0.2] * 5)
        assert point(reader, {}).count == 15


def test_a_second_reader_gets_the_same() -> None:
    """If metrics are both exported and served, neither reader misses what the other collected."""
    other = InMemoryMetricReader()
    with measured(other) as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record_all([0.2] * 10)
        reader.get_metrics_data()
        assert point(other, {}).count == 10


def test_nothing_is_exported_but_the_histogram() -> None:
    """The callback that hands over the tally is not exported."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record(0.2)
        assert metric(reader).name == METRIC.name


def test_the_exemplar_is_a_sampled_measurement(tracer: Tracer) -> None:
    """An exemplar refers to a recorded trace, even if other measurements of its bucket are later."""
    unsampled = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        with tracer.start_as_current_span("kept") as kept:
            histogram.record(0.21)
        with unsampled.start_as_current_span("not kept"):
            histogram.record(0.22)
        (exemplar,) = point(reader, {}).exemplars
    assert (exemplar.trace_id, exemplar.value) == (kept.get_span_context().trace_id, 0.21)


def test_the_exemplar_of_a_batch_is_its_largest_measurement(tracer: Tracer) -> None:
    """Each bucket of a batch has one of its rows as exemplar."""
    with measured() as (meter, reader), tracer.start_as_current_span("batch"):
        PreAggregatedHistogram(meter, METRIC).record_all([0.22, 0.9, 0.23, 0.21])
        assert sorted(each.value for each in point(reader, {}).exemplars) == [0.23, 0.9]


def test_an_exemplar_has_the_time_of_its_measurement(tracer: Tracer) -> None:
    """It is not the time of the collection, which is seconds later."""
    with measured() as (meter, reader):
        with tracer.start_as_current_span("request"):
            PreAggregatedHistogram(meter, METRIC).record(0.2)
        measured_before_ns = time.time_ns()
        (exemplar,) = point(reader, {}).exemplars
    assert exemplar.time_unix_nano <= measured_before_ns


def test_exported_values_are_plain_numbers(tracer: Tracer) -> None:
    """Any exporter can write the exemplar, the minimum and the maximum."""
    with measured() as (meter, reader):
        with tracer.start_as_current_span("batch"):
            PreAggregatedHistogram(meter, names.UNUSUAL_FEATURES).record_all([2] * 10)
        found = point(reader, {})
        assert {type(value) for value in (found.exemplars[0].value, found.min, found.max, found.sum)} == {float}
        assert '"count": 10' in found.to_json()


def test_only_the_metrics_own_attributes_are_kept() -> None:
    """A host from a client creates no series."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record(0.2, {**ATTRIBUTES, "server.address": "invented"})
        assert point(reader, ATTRIBUTES).count == 1


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0])
def test_an_invalid_measurement_is_dropped_and_logged(amount: float, caplog: pytest.LogCaptureFixture) -> None:
    """The histogram stays unchanged, and the SDK's warning names the instrument."""
    with measured() as (meter, reader), caplog.at_level(logging.WARNING):
        PreAggregatedHistogram(meter, METRIC).record_all([0.2, amount])
        assert (point(reader, {}).count, point(reader, {}).sum) == (1, 0.2)
    assert METRIC.name in caplog.text


def test_an_empty_batch_exports_nothing() -> None:
    """It is not a measurement."""
    with measured() as (meter, reader):
        PreAggregatedHistogram(meter, METRIC).record_all([])
        assert reader.get_metrics_data() is None


# --- sums -----------------------------------------------------------------------------------------------------------


def test_a_counter_is_exported_before_it_counts() -> None:
    """Prometheus' `increase()` only sees the first event after a zero."""
    with measured() as (meter, reader):
        TalliedSum(meter, names.LOG_SPOOLED)
        assert point(reader, {}).value == 0


def test_a_counter_exports_its_sum() -> None:
    """The sum of all additions is monotonic."""
    with measured() as (meter, reader):
        spooled = TalliedSum(meter, names.LOG_SPOOLED)
        spooled.add(3)
        reader.get_metrics_data()
        spooled.add(4)
        data = metric(reader).data
    assert ([each.value for each in data.data_points], data.is_monotonic) == ([7], True)


def test_a_gauge_goes_up_and_down_for_each_attribute() -> None:
    """The sum decreases, and the metric is not a counter."""
    get, post = {names.HTTP_METHOD: "GET"}, {names.HTTP_METHOD: "POST"}
    with measured() as (meter, reader):
        active = TalliedSum(meter, names.HTTP_ACTIVE_REQUESTS)
        for amount, attributes in ((1, get), (1, post), (1, post), (-1, get)):
            active.add(amount, {**attributes, "url.scheme": "http"})
        data = metric(reader).data
    assert {each.attributes[names.HTTP_METHOD]: each.value for each in data.data_points} == {"GET": 0, "POST": 2}
    assert not data.is_monotonic


THREADS, CALLS = 4, 800


class Interrupted(int):
    """A number whose addition lets another thread run, so that the test hits this moment every time."""

    def __radd__(self, other: int) -> int:
        time.sleep(0)
        return other + int(self)


@pytest.fixture
def _frequent_thread_switches() -> Iterator[None]:
    """A thread may be interrupted at any moment, not only every 5 ms."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


def counted(record: Callable[[], object], reader: InMemoryMetricReader) -> None:
    """Record from several threads, and collect at the same time."""
    threads = [threading.Thread(target=lambda: [record() for _ in range(CALLS)]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reader.get_metrics_data()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("_frequent_thread_switches")
def test_a_histogram_loses_no_measurement_to_another_thread() -> None:
    """Everything that several threads record during collections is counted once."""
    with measured() as (meter, reader):
        histogram = PreAggregatedHistogram(meter, METRIC)
        counted(lambda: histogram.record(0.5), reader)
        assert [point.count for point in metric(reader).data.data_points] == [THREADS * CALLS]


@pytest.mark.usefixtures("_frequent_thread_switches")
def test_a_counter_loses_no_addition_to_another_thread() -> None:
    """The same applies to sums."""
    with measured() as (meter, reader):
        spooled = TalliedSum(meter, names.LOG_SPOOLED)
        counted(lambda: spooled.add(Interrupted(1)), reader)
        assert [point.value for point in metric(reader).data.data_points] == [THREADS * CALLS]
