"""Makes instruments from their records in `names`, so that no name, unit or description is written twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Counter, Meter, Observation

from leeway.telemetry.names import Metric
from leeway.telemetry.tally import PreAggregatedHistogram, TalliedSum


def counter(meter: Meter, metric: Metric) -> Counter:
    """The counter that `metric` describes."""
    return meter.create_counter(metric.name, metric.unit, metric.description)


def histogram(meter: Meter, metric: Metric) -> PreAggregatedHistogram:
    """The histogram that `metric` describes; a View gives it its buckets."""
    return PreAggregatedHistogram(meter, metric)


def tallied(meter: Meter, metric: Metric) -> TalliedSum:
    """As `counter`, for what is counted for every request: read at collection, without exemplars."""
    return TalliedSum(meter, metric)


def observe(meter: Meter, metric: Metric, read: Callable[[], Iterable[tuple[float, Mapping[str, str]]]]) -> None:
    """Report `metric` by asking `read` for (value, attributes) at every collection; nothing read, nothing reported.

    A gauge reads what is so now, a counter the sum since the process began.
    """

    def callback(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(attributes)) for value, attributes in read()]

    create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
    create(metric.name, [callback], metric.unit, metric.description)
