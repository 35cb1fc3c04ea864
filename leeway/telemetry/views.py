"""How instruments are aggregated: by our buckets, and over our attributes only."""

from __future__ import annotations

from opentelemetry.sdk.metrics.view import DropAggregation, View

from leeway.telemetry import names
from leeway.telemetry.weighted import WeightedHistogramAggregation


def our_views() -> list[View]:
    """Our buckets, only our attributes on the HTTP metrics (a client can invent a host), and no body sizes."""
    views = [
        View(
            instrument_name=metric.name,
            aggregation=WeightedHistogramAggregation(metric.buckets),
            attribute_keys=set(metric.attributes) | {names.ERROR_TYPE},
        )
        for metric in names.OUR_HISTOGRAMS
    ]
    active = names.HTTP_ACTIVE_REQUESTS
    views.append(View(instrument_name=active.name, attribute_keys=set(active.attributes)))
    views.append(View(instrument_name="http.server.*.body.size", aggregation=DropAggregation()))
    return views
