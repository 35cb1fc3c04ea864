"""Saturation of a process; the API and the drift worker have the same panels."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import links, states
from observability.grafana.generate.panels import BYTES, COUNT, SECONDS, Query, lines, stacked
from observability.grafana.generate.queries import Match, legend, quantile, rate, series, total

JOB, NAMESPACE = "job", "leeway"
"""In Prometheus, `job` is namespace and name: `leeway/leeway-service`."""


def of_process(service: str) -> Match:
    """A matcher for the series of one process."""
    return Match(JOB, f"{NAMESPACE}/{service}")


def active() -> timeseries.Panel:
    """Requests in flight."""
    return lines(
        "Requests in flight",
        "Requests being processed. A process scores one request at a time, so a rising number means that requests"
        " wait.",
        COUNT,
        Query(total(series(names.HTTP_ACTIVE_REQUESTS)), "in flight"),
        absent="no traffic yet",
    ).decimals(0)


def loop_lag() -> timeseries.Panel:
    """Event loop lag."""
    return lines(
        "Event loop lag",
        "How late the event loop runs scheduled callbacks. All requests of the process wait that long.",
        SECONDS,
        Query(quantile(0.5, names.EVENT_LOOP_LAG), "p50"),
        Query(quantile(0.99, names.EVENT_LOOP_LAG), "p99"),
        limit=states.thresholds((None, "transparent"), (0.05, states.RED)),
        links=[links.TO_SLOW],
    )


def cpu(service: str) -> timeseries.Panel:
    """CPU usage."""
    used = total(rate(series(names.PROCESS_CPU_TIME, of_process(service))), names.CPU_MODE)
    return stacked(
        lines("CPU usage", "CPU cores in use: 1 is one core.", COUNT, Query(used, legend(names.CPU_MODE)))
    ).decimals(2)


def memory(service: str) -> timeseries.Panel:
    """Physical memory."""
    return lines(
        "Memory",
        "Resident memory of the process. A steady rise is a leak. compose.yaml sets the limit.",
        BYTES,
        Query(total(series(names.PROCESS_MEMORY, of_process(service))), "resident"),
    )
