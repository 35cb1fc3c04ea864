from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from leeway.telemetry import names
from leeway.telemetry.instruments import histogram
from leeway.telemetry.views import our_views
from leeway.telemetry.weighted import record_all

METRIC = names.PREDICTION_SCORES
SCORES = [0.01, 0.02, 0.05, 0.051, 0.5, 0.93, 0.93, 0.93, 1.0]


@contextmanager
def measured() -> Iterator[tuple[Histogram, InMemoryMetricReader]]:
    """The score histogram as our Views make it, and what reads it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=our_views(), shutdown_on_exit=False)
    try:
        yield histogram(provider.get_meter("test"), METRIC), reader
    finally:
        provider.shutdown()


def point(reader: InMemoryMetricReader, attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401 (the SDK's own)
    """The only data point with these attributes."""
    data = reader.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    (found,) = [each for each in points if each.attributes == attributes]
    return found


def test_a_batch_leaves_what_single_records_would() -> None:
    """Counts by bucket and the number of values are equal, the sum within rounding."""
    attributes = {names.MODEL_VERSION: "v"}
    with measured() as (one_by_one, first), measured() as (at_once, second):
        for score in SCORES:
            one_by_one.record(score, attributes)
        record_all(at_once, METRIC, SCORES, attributes)
        expected, found = point(first, attributes), point(second, attributes)
    assert (found.count, found.bucket_counts) == (expected.count, expected.bucket_counts)
    assert found.sum == pytest.approx(expected.sum)


def test_weights_add_up_over_collections() -> None:
    """What comes after a collection is added to what came before it."""
    with measured() as (at_once, reader):
        record_all(at_once, METRIC, [0.2] * 10, {})
        reader.get_metrics_data()
        record_all(at_once, METRIC, [0.2] * 5, {})
        assert point(reader, {}).count == 15


def test_a_batch_leaves_an_exemplar() -> None:
    """A click on the histogram leads to the batch's trace."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with measured() as (at_once, reader):
        with tracer.start_as_current_span("batch") as span:
            record_all(at_once, METRIC, [0.2] * 10, {})
        (exemplar,) = point(reader, {}).exemplars
    assert exemplar.trace_id == span.get_span_context().trace_id


def test_what_is_exported_is_plain_numbers() -> None:
    """An exemplar, the smallest and the largest value can be written by any exporter."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with measured() as (at_once, reader):
        with tracer.start_as_current_span("batch"):
            record_all(at_once, METRIC, [0.2] * 10, {})
        found = point(reader, {})
        assert {type(value) for value in (found.exemplars[0].value, found.min, found.max, found.sum)} == {float}
        assert '"count": 10' in found.to_json()


def test_nothing_leaves_nothing() -> None:
    """A batch of none is no measurement."""
    with measured() as (at_once, reader):
        record_all(at_once, METRIC, [], {})
        assert reader.get_metrics_data() is None
