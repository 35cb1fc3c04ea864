"""Saturation of a process; the API and the drift worker have the same panels."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import limits, links, states
from observability.grafana.generate.panels import BYTES, COUNT, SECONDS, SHARE, Query, lines, stacked
from observability.grafana.generate.queries import OF_INSTANCE, Match, legend, quantile, rate, series, total

JOB, NAMESPACE = "job", "leeway"
"""In Prometheus, `job` is namespace and name: `leeway/leeway-service`."""


def of_process(service: str) -> tuple[Match, ...]:
    """Matchers for the series of a process; of the API, for those of the selected instances."""
    job = Match(JOB, f"{NAMESPACE}/{service}")
    return (job, OF_INSTANCE) if service == links.API else (job,)


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
    used = total(rate(series(names.PROCESS_CPU_TIME, *of_process(service))), names.CPU_MODE)
    return stacked(
        lines(
            "CPU usage",
            "100 % is one core. compose.yaml sets no limit; the model is scored by one thread.",
            SHARE,
            Query(used, legend(names.CPU_MODE)),
        )
    ).decimals(0)


def memory(service: str, container: str) -> timeseries.Panel:
    """Physical memory, up to the limit of the container."""
    limit = limits.memory_limit(container)
    return lines(
        "Memory",
        "Resident memory of the process. A steady rise is a leak. The line is the container's limit in compose.yaml.",
        BYTES,
        Query(total(series(names.PROCESS_MEMORY, *of_process(service))), "resident"),
        limit=states.thresholds((None, "transparent"), (limit, states.RED)),
        soft_max=limit,
    )
