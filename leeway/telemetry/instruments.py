"""Creates instruments and their Views from `names`, so that no name, unit or description is written twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Counter, Meter, Observation
from opentelemetry.sdk.metrics.view import View

from leeway.telemetry.names import ERROR_TYPE, OUR_HISTOGRAMS, Metric
from leeway.telemetry.tally import PreAggregatedHistogram, TalliedSum
from leeway.telemetry.weighted import WeightedHistogramAggregation


def counter(meter: Meter, metric: Metric) -> Counter:
    """Create a counter."""
    return meter.create_counter(metric.name, metric.unit, metric.description)


def histogram(meter: Meter, metric: Metric) -> PreAggregatedHistogram:
    """Create a histogram; a View sets its buckets."""
    return PreAggregatedHistogram(meter, metric)


def tallied(meter: Meter, metric: Metric) -> TalliedSum:
    """Create a cheap counter for every request. It is read at collection and has no exemplars."""
    return TalliedSum(meter, metric)


def observe(meter: Meter, metric: Metric, read: Callable[[], Iterable[tuple[float, Mapping[str, str]]]]) -> None:
    """Create an observable instrument: each collection calls `read` for (value, attributes).

    A gauge reads the current value, a counter the sum since the process started. No value reports nothing.
    """

    def callback(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(attributes)) for value, attributes in read()]

    create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
    create(metric.name, [callback], metric.unit, metric.description)


def our_views() -> list[View]:
    """A View for each of our histograms, with its buckets and its attributes only."""
    return [
        View(
            instrument_name=metric.name,
            aggregation=WeightedHistogramAggregation(metric.buckets),
            attribute_keys={*metric.attributes, ERROR_TYPE},
        )
        for metric in OUR_HISTOGRAMS
    ]
