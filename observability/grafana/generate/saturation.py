"""How near a process is to its limits; the same panels for the API and for the drift worker."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import links, states
from observability.grafana.generate.panels import BYTES, COUNT, SECONDS, Query, lines, stacked
from observability.grafana.generate.queries import Match, legend, quantile, rate, series, total

JOB, NAMESPACE = "job", "leeway"
"""In Prometheus a process is known by namespace and name: `leeway/leeway-service`."""


def of_process(service: str) -> Match:
    """Keeps the series of one process."""
    return Match(JOB, f"{NAMESPACE}/{service}")


def active() -> timeseries.Panel:
    """Requests that are being answered."""
    return lines(
        "Requests in flight",
        "How many are being answered at once. One process scores one at a time: what grows here waits.",
        COUNT,
        Query(total(series(names.HTTP_ACTIVE_REQUESTS)), "in flight"),
        absent="no traffic yet",
    ).decimals(0)


def loop_lag() -> timeseries.Panel:
    """How long everything waits."""
    return lines(
        "Event loop lag",
        "How late the loop runs what is due. All requests of the process wait for it, whatever they ask.",
        SECONDS,
        Query(quantile(0.5, names.EVENT_LOOP_LAG), "p50"),
        Query(quantile(0.99, names.EVENT_LOOP_LAG), "p99"),
        limit=states.thresholds((None, "transparent"), (0.05, states.RED)),
        links=[links.TO_SLOW],
    )


def cpu(service: str) -> timeseries.Panel:
    """Processors in use."""
    used = total(rate(series(names.PROCESS_CPU_TIME, of_process(service))), names.CPU_MODE)
    return stacked(
        lines("Processors in use", "1 is one processor, all of the time.", COUNT, Query(used, legend(names.CPU_MODE)))
    ).decimals(2)


def memory(service: str) -> timeseries.Panel:
    """Physical memory."""
    return lines(
        "Memory",
        "Physical memory of the process. A steady climb is a leak; compose sets the limit.",
        BYTES,
        Query(total(series(names.PROCESS_MEMORY, of_process(service))), "resident"),
    )
