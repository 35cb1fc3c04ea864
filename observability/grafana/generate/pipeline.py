"""Pipeline: is what the other boards show whole? The Collector, Prometheus and Jaeger, watched by themselves."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate import foreign, limits, links, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.overrides import tint
from observability.grafana.generate.panels import (
    BYTES,
    COUNT,
    EVENTS,
    SECONDS,
    SHARE,
    Query,
    lines,
    stacked,
    stats,
    timeline,
)
from observability.grafana.generate.queries import WHOLE_RANGE, increase, rate, total

NO_COLLECTOR = "the Collector is not seen"
NO_JAEGER = "Jaeger is not seen"


def pipeline() -> models.Dashboard:
    """The board of what carries and keeps telemetry."""
    return board(
        links.PIPELINE,
        "Pipeline",
        "Whether metrics and traces arrive whole. A gap here explains a gap on every other board.",
        [
            Row(4, [(6, lost()), (6, queue_fill()), (6, rule_failures()), (6, series_count())]),
            Row(6, [(12, targets()), (12, arriving_by_service())]),
            Row(8, [(8, accepted()), (8, losses()), (8, queue())], "Collector"),
            Row(8, [(8, stored()), (8, memory()), (8, collector_cpu())], "Jaeger, and what all of them take"),
            Row(8, [(8, scrapes()), (8, rules()), (8, storage())], "Prometheus"),
        ],
    )


def _of(counters: tuple[str, ...], count: Callable[[str], str]) -> str:
    """The counters' sum. Some begin with the first loss: until then zero is the truth, if the Collector is seen."""
    seen = f"0 * {total(count(foreign.ACCEPTED_SPANS))}"
    return " + ".join(f"({total(count(each))} or {seen})" for each in counters)


def lost() -> stat.Panel:
    """What no board will ever show."""
    counters = foreign.REFUSED + foreign.SEND_FAILED + foreign.ENQUEUE_FAILED
    return stats(
        "Telemetry lost in this time range",
        "Spans and metric points that the Collector refused, could not queue or gave up. Zero, or a board has holes.",
        COUNT,
        Query(_of(counters, lambda counter: increase(counter, WHOLE_RANGE))),
        absent=NO_COLLECTOR,
        colours=states.thresholds((None, states.GREEN), (1, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def queue_fill() -> stat.Panel:
    """How long Jaeger may stay away."""
    return stats(
        "Fullest queue of the Collector",
        "Share of the queue that is taken. It fills while Jaeger is away, and is on disk: nothing is lost until 100 %.",
        SHARE,
        Query(f"max({foreign.QUEUE_SIZE} / {foreign.QUEUE_CAPACITY})"),
        absent=NO_COLLECTOR,
        colours=limits.FILL,
        links=[links.TO_ALERTS],
    ).decimals(1)


def rule_failures() -> stat.Panel:
    """Alerts that are silent for the wrong reason."""
    return stats(
        "Rules that failed in this time range",
        "Evaluations of recording rules and alerts that failed. An alert that cannot be evaluated never fires.",
        COUNT,
        Query(total(increase(foreign.RULE_FAILURES, WHOLE_RANGE))),
        colours=states.thresholds((None, states.GREEN), (1, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def series_count() -> stat.Panel:
    """What Prometheus' memory goes by."""
    return stats(
        "Series in Prometheus",
        "Time series that are held in memory. A jump without a deployment is a label that somebody can invent.",
        COUNT,
        Query(total(foreign.SERIES)),
    ).decimals(1)


def targets() -> statetimeline.Panel:
    """Who answers."""
    return timeline(
        "Targets",
        "What Prometheus scrapes. `applications` is the Collector's port with our metrics: with it down, service and"
        " drift worker go on and are not seen.",
        states.steps(states.TARGETS),
        Query(f"min by ({foreign.JOB}) ({foreign.UP})", f"{{{{{foreign.JOB}}}}}"),
        states=states.TARGETS,
        links=[links.link("Targets in Prometheus", f"{links.PROMETHEUS}/targets")],
    )


def arriving_by_service() -> timeseries.Panel:
    """Who speaks."""
    return lines(
        "Spans that arrive, by service",
        "From the Collector's span metrics, counted before any sampling. A service that falls silent here while it is"
        " asked has lost its way to the Collector.",
        EVENTS,
        Query(foreign.by(foreign.SPAN_SERVICE, rate(foreign.SPAN_CALLS)), f"{{{{{foreign.SPAN_SERVICE}}}}}"),
        absent="no spans yet",
    )


def accepted() -> timeseries.Panel:
    """What comes in."""
    return lines(
        "Accepted",
        "Spans and metric points a second that the Collector took.",
        EVENTS,
        Query(total(rate(foreign.ACCEPTED_SPANS)), "spans"),
        Query(total(rate(foreign.ACCEPTED_POINTS)), "metric points"),
        absent=NO_COLLECTOR,
    )


def losses() -> timeseries.Panel:
    """What does not come through."""
    return (
        lines(
            "Refused, not queued, given up",
            "Refused: the memory limit is reached; who sends tries again. Not queued: the queue is full. Given up: the"
            " receiver said no for good. All three are zero on a good day.",
            EVENTS,
            Query(_of(foreign.REFUSED, rate), "refused"),
            Query(_of(foreign.ENQUEUE_FAILED, rate), "not queued"),
            Query(_of(foreign.SEND_FAILED, rate), "given up"),
            absent=NO_COLLECTOR,
            links=[links.TO_ALERTS],
        )
        .override_by_name("refused", [tint(states.YELLOW)])
        .override_by_name("not queued", [tint(states.ORANGE)])
        .override_by_name("given up", [tint(states.RED)])
    )


def queue() -> timeseries.Panel:
    """What waits."""
    waiting = f"max by ({foreign.EXPORTER}) ({foreign.QUEUE_SIZE})"
    return lines(
        "Spans that wait for Jaeger",
        "The Collector's queue on disk. It climbs while Jaeger is away and empties when it is back. How much of it is"
        " taken stands above; what comes when it is full is lost.",
        COUNT,
        Query(waiting, f"{{{{{foreign.EXPORTER}}}}}"),
        absent=NO_COLLECTOR,
    ).decimals(0)


def stored() -> timeseries.Panel:
    """What Jaeger keeps of it."""
    failed = total(rate(foreign.JAEGER_FAILED))
    return lines(
        "Spans on their way to disk",
        "Sent by the Collector, stored by Jaeger, failed to be stored. Sent and stored are one line, or traces are"
        " missing.",
        EVENTS,
        Query(total(rate(foreign.SENT_SPANS)), "sent by the Collector"),
        Query(total(rate(foreign.JAEGER_STORED)), "stored by Jaeger"),
        Query(f"{failed} or 0 * {total(rate(foreign.JAEGER_STORED))}", "failed"),
        absent=NO_JAEGER,
    ).override_by_name("failed", [tint(states.RED)])


def memory() -> timeseries.Panel:
    """All three."""
    return lines(
        "Memory",
        "Physical memory of Collector, Jaeger and Prometheus; compose sets the limits.",
        BYTES,
        Query(total(foreign.COLLECTOR_MEMORY), "Collector"),
        Query(total(foreign.JAEGER_MEMORY), "Jaeger"),
        Query(total(foreign.of_job(foreign.PROMETHEUS_MEMORY, "prometheus")), "Prometheus"),
    )


def collector_cpu() -> timeseries.Panel:
    """The one that all goes through."""
    return lines(
        "Processors in use by the Collector",
        "1 is one processor, all of the time.",
        COUNT,
        Query(total(rate(foreign.COLLECTOR_CPU)), "Collector"),
        absent=NO_COLLECTOR,
    ).decimals(2)


def scrapes() -> timeseries.Panel:
    """Does Prometheus keep up?"""
    return lines(
        "Scrape duration",
        "How long each target takes to be read, every five seconds. Over four a scrape is given up.",
        SECONDS,
        Query(f"max by ({foreign.JOB}) ({foreign.SCRAPE_DURATION})", f"{{{{{foreign.JOB}}}}}"),
        links=[links.link("Targets in Prometheus", f"{links.PROMETHEUS}/targets")],
    )


def rules() -> timeseries.Panel:
    """And its rules?"""
    return lines(
        "Rule evaluation",
        "How long the groups of rules took, last time. They are due every five to sixty seconds.",
        SECONDS,
        Query(total(foreign.RULE_DURATION), "all together"),
        Query(f"max({foreign.RULE_DURATION})", "slowest group"),
    )


def storage() -> timeseries.Panel:
    """What it keeps."""
    return stacked(
        lines(
            "Prometheus on disk",
            "Blocks and the log before them. Retention bounds both in compose.",
            BYTES,
            Query(total(foreign.BLOCK_BYTES), "blocks"),
            Query(total(foreign.LOG_BYTES), "log"),
        )
    )
