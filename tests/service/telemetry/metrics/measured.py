"""What the service measures, and how it stands in Prometheus' text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from leeway.telemetry import names
from tests.service.observed import Observed

OF_THE_SERVICE = [
    names.HTTP_REQUEST_DURATION,
    names.HTTP_ACTIVE_REQUESTS,
    names.PREDICTION_DURATION,
    names.PREDICTION_SCORES,
    names.UNUSUAL_FEATURES,
    names.INFERENCE_DURATION,
    names.LOOKUP_DURATION,
    names.REQUEST_REJECTED,
    names.LOG_SPOOLED,
    names.LOG_WRITTEN,
    names.LOG_UNRECORDED,
    names.LOG_BACKLOG,
    names.SPOOL_SIZE,
    names.SPOOL_LIMIT,
    names.SCORE_REFERENCE,
]
"""Every metric that this process emits."""


def samples(service: Observed) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample in `/metrics`, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found
