"""The prediction log: from the spool to the database."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, timeseries

from leeway.telemetry import names
from observability.grafana.generate import limits, links, states
from observability.grafana.generate.overrides import tint
from observability.grafana.generate.panels import COUNT, SHARE, WRITES, Query, lines, stats
from observability.grafana.generate.queries import WHOLE_RANGE, Recorded, increase, largest, rate, series, total


def lost() -> stat.Panel:
    """Unrecorded predictions, which must stay at zero."""
    return stats(
        "Not recorded",
        "Predictions in this time range that were answered but could not be recorded. They are missing from drift"
        " windows.",
        COUNT,
        Query(total(increase(series(names.LOG_UNRECORDED), WHOLE_RANGE))),
        colours=states.thresholds((None, states.GREEN), (0.5, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def spool() -> stat.Panel:
    """Spool usage: how long the database may be unreachable."""
    return stats(
        "Spool usage",
        "Share of the spool's limit. Answered predictions wait here for the database. When it is full, they are lost.",
        SHARE,
        Query(largest(Recorded.SPOOL_USED)),
        colours=limits.FILL,
        links=[links.TO_ALERTS],
    ).decimals(1)


def predictions_kept() -> timeseries.Panel:
    """Spooled and written predictions."""
    return lines(
        "Predictions recorded",
        "Predictions are written to the spool before the response is sent, and to the database soon after. If the lines"
        " diverge, the database is slow or unreachable, and the backlog grows.",
        WRITES,
        Query(total(rate(series(names.LOG_SPOOLED))), "to the spool"),
        Query(total(rate(series(names.LOG_WRITTEN))), "to the database"),
        Query(total(rate(series(names.LOG_UNRECORDED))), "lost"),
    ).override_by_name("lost", [tint(states.RED)])


def backlog() -> timeseries.Panel:
    """The backlog."""
    return lines(
        "Backlog",
        "Predictions that wait in the spool. A few are normal; a rise means that the database is slow or unreachable.",
        COUNT,
        Query(total(series(names.LOG_BACKLOG)), "waiting"),
    ).decimals(0)
