from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from leeway.telemetry import names
from leeway.telemetry.instruments import our_views
from leeway.telemetry.tally import PreAggregatedHistogram, TalliedSum

THREADS, CALLS = 4, 3_000


class Interrupted(int):
    """A number whose addition lets another thread go first: else it is too short to be met there every time."""

    def __radd__(self, other: int) -> int:
        time.sleep(0)
        return other + int(self)


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    """A thread may be interrupted at any moment, not only each 5 ms."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


def counted(record: Callable[[], object], reader: InMemoryMetricReader) -> None:
    """Record from several threads, and collect all the while."""
    threads = [threading.Thread(target=lambda: [record() for _ in range(CALLS)]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reader.get_metrics_data()
    for thread in threads:
        thread.join()


def exported(reader: InMemoryMetricReader) -> Iterator[object]:
    """The data points of the only metric."""
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    yield from metric.data.data_points


def test_a_histogram_loses_no_measurement_to_another_thread() -> None:
    """What several threads record while it is collected is all in the count, once."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=our_views(), shutdown_on_exit=False)
    histogram = PreAggregatedHistogram(provider.get_meter("test"), names.PREDICTION_SCORES)
    counted(lambda: histogram.record(0.5), reader)
    assert [getattr(point, "count", None) for point in exported(reader)] == [THREADS * CALLS]


def test_a_counter_loses_no_addition_to_another_thread() -> None:
    """The same for what is only added up."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=our_views(), shutdown_on_exit=False)
    spooled = TalliedSum(provider.get_meter("test"), names.LOG_SPOOLED)
    counted(lambda: spooled.add(Interrupted(1)), reader)
    assert [getattr(point, "value", None) for point in exported(reader)] == [THREADS * CALLS]
