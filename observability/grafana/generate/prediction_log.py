"""Is every answered prediction kept? From the spool into the database."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, timeseries

from leeway.telemetry import names
from observability.grafana.generate import limits, links, states
from observability.grafana.generate.overrides import tint
from observability.grafana.generate.panels import COUNT, SHARE, WRITES, Query, lines, stats
from observability.grafana.generate.queries import WHOLE_RANGE, Recorded, increase, largest, rate, series, total


def lost() -> stat.Panel:
    """The one number that must stay zero."""
    return stats(
        "Not recorded",
        "Predictions of this time range that were answered and could not be kept: every drift window misses them.",
        COUNT,
        Query(total(increase(series(names.LOG_UNRECORDED), WHOLE_RANGE))),
        colours=states.thresholds((None, states.GREEN), (0.5, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def spool() -> stat.Panel:
    """How long the database may stay away."""
    return stats(
        "Spool in use",
        "Share of the spool's limit. Answered predictions wait here for the database; when it is full they are lost.",
        SHARE,
        Query(largest(Recorded.SPOOL_USED)),
        colours=limits.FILL,
        links=[links.TO_ALERTS],
    ).decimals(1)


def predictions_kept() -> timeseries.Panel:
    """What goes in must come out."""
    return lines(
        "Predictions recorded",
        "Into the spool before the answer is sent, into the database soon after. Lines that part: the database is"
        " slow or away, and the backlog grows.",
        WRITES,
        Query(total(rate(series(names.LOG_SPOOLED))), "into the spool"),
        Query(total(rate(series(names.LOG_WRITTEN))), "into the database"),
        Query(total(rate(series(names.LOG_UNRECORDED))), "lost"),
    ).override_by_name("lost", [tint(states.RED)])


def backlog() -> timeseries.Panel:
    """What waits."""
    return lines(
        "Backlog",
        "Predictions that wait in the spool for the database. A few are usual; a climb is a database that is away.",
        COUNT,
        Query(total(series(names.LOG_BACKLOG)), "waiting"),
    ).decimals(0)
