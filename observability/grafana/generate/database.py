"""The database as its clients see it: lookups of the service, its writes, and the drift worker's windows."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import links, states
from observability.grafana.generate.foreign import SPAN_DURATION, SPAN_NAME, legend, of_spans
from observability.grafana.generate.overrides import right_axis, tint
from observability.grafana.generate.panels import (
    COUNT,
    MILLISECONDS,
    SECONDS,
    SHARE,
    WRITES,
    Query,
    lines,
)
from observability.grafana.generate.queries import RUNS, Match, quantile, rate, ratio, series, total


def lookups() -> timeseries.Panel:
    """Snapshot lookups."""
    found, broken = Match(names.ERROR_TYPE, ""), Match(names.ERROR_TYPE, ".+", "=~")
    failures = total(rate(series(names.LOOKUP_DURATION, broken, part="count")))
    everything = total(rate(series(names.LOOKUP_DURATION, part="count")))
    return lines(
        "Snapshot lookups",
        "Time to find a customer's features (left) and share of failed lookups (right). If the database is unreachable,"
        " requests with user_id get a 503; requests with features still work.",
        SECONDS,
        Query(quantile(0.5, names.LOOKUP_DURATION, found), "p50"),
        Query(quantile(0.99, names.LOOKUP_DURATION, found), "p99", exemplars=True),
        Query(ratio(failures, everything), "failed"),
        absent="no lookups",
        links=[links.TO_FAILED],
    ).override_by_name("failed", [tint(states.RED), *right_axis(SHARE, "failed", soft_max=0.1)])


def writes() -> timeseries.Panel:
    """Predictions written, and those that wait."""
    return lines(
        "Predictions written, and waiting",
        "Predictions that reach the database (left) and that wait in the spool (right). A few that wait are normal; a"
        " rise means that the database is slow or unreachable.",
        WRITES,
        Query(total(rate(series(names.LOG_WRITTEN))), "written"),
        Query(total(series(names.LOG_BACKLOG)), "waiting"),
        absent="no service",
        links=[links.TO_SERVICE],
    ).override_by_name("waiting", [tint(states.YELLOW), *right_axis(COUNT, "waiting", soft_max=10)])


def windows() -> timeseries.Panel:
    """How long the drift worker takes to read and to write."""
    which = of_spans(links.WORKER, (names.SPAN_LOAD_WINDOW, names.SPAN_PUBLISH))
    spent = f"sum by ({SPAN_NAME}) ({rate(f'{SPAN_DURATION}_sum{which}', RUNS)})"
    counted = f"sum by ({SPAN_NAME}) ({rate(f'{SPAN_DURATION}_count{which}', RUNS)})"
    return lines(
        "Drift worker: read and publish",
        "Mean time to load a window from the database and to publish a result into it, over ten minutes, from span"
        " metrics.",
        MILLISECONDS,
        Query(f"{spent} / {counted}", legend(SPAN_NAME)),
        absent="no drift runs",
        links=[links.TO_RUNS],
    )
