"""How instruments are aggregated: by our buckets, and over our attributes only."""

from __future__ import annotations

from opentelemetry.sdk.metrics.view import View

from leeway.telemetry import names
from leeway.telemetry.weighted import WeightedHistogramAggregation


def our_views() -> list[View]:
    """Our buckets and our attributes."""
    return [
        View(
            instrument_name=metric.name,
            aggregation=WeightedHistogramAggregation(metric.buckets),
            attribute_keys=set(metric.attributes) | {names.ERROR_TYPE},
        )
        for metric in names.OUR_HISTOGRAMS
    ]
