"""The Pipeline dashboard: health of the Collector, Prometheus and Jaeger, on which the other dashboards depend."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate import foreign, limits, links, states
from observability.grafana.generate.board import Row, board
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
    tint,
)
from observability.grafana.generate.queries import WHOLE_RANGE, increase, rate, total

NO_COLLECTOR = "no metrics from the Collector"
NO_JAEGER = "no metrics from Jaeger"


def pipeline() -> models.Dashboard:
    """The dashboard of the telemetry pipeline."""
    return board(
        links.PIPELINE,
        "Pipeline",
        "Whether metrics and traces arrive completely. A gap here explains gaps on the other dashboards.",
        [
            Row(4, [(6, lost()), (6, queue_fill()), (6, rule_failures()), (6, series_count())]),
            Row(6, [(12, targets()), (12, arriving_by_service())]),
            Row(8, [(8, accepted()), (8, losses()), (8, queue())], "Collector"),
            Row(8, [(8, stored()), (8, memory()), (8, collector_cpu())], "Jaeger and resources"),
            Row(8, [(8, scrapes()), (8, rules()), (8, storage())], "Prometheus"),
        ],
    )


def _of(counters: tuple[str, ...], count: Callable[[str], str]) -> str:
    """The counters' sum. Some counters start with the first loss: until then the sum is zero if the Collector is up."""
    seen = f"0 * {total(count(foreign.ACCEPTED_SPANS))}"
    return " + ".join(f"({total(count(each))} or {seen})" for each in counters)


def lost() -> stat.Panel:
    """Telemetry that was lost."""
    counters = foreign.REFUSED + foreign.SEND_FAILED + foreign.ENQUEUE_FAILED
    return stats(
        "Telemetry lost in this time range",
        "Spans and metric points that the Collector refused, could not queue or dropped. If not zero, dashboards have"
        " gaps.",
        COUNT,
        Query(_of(counters, lambda counter: increase(counter, WHOLE_RANGE))),
        absent=NO_COLLECTOR,
        colours=states.thresholds((None, states.GREEN), (1, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def queue_fill() -> stat.Panel:
    """Fill level of the fullest queue: how long Jaeger may be unreachable."""
    return stats(
        "Fullest Collector queue",
        "Fill level. The queue is on disk and fills while Jaeger is unreachable; nothing is lost below 100 %.",
        SHARE,
        Query(f"max({foreign.QUEUE_SIZE} / {foreign.QUEUE_CAPACITY})"),
        absent=NO_COLLECTOR,
        colours=limits.FILL,
        links=[links.TO_ALERTS],
    ).decimals(1)


def rule_failures() -> stat.Panel:
    """Failed rule evaluations."""
    return stats(
        "Failed rule evaluations in this time range",
        "Recording rules and alerts that could not be evaluated. Such an alert cannot fire.",
        COUNT,
        Query(total(increase(foreign.RULE_FAILURES, WHOLE_RANGE))),
        colours=states.thresholds((None, states.GREEN), (1, states.RED)),
        links=[links.TO_ALERTS],
    ).decimals(0)


def series_count() -> stat.Panel:
    """Number of series, which determines Prometheus' memory."""
    return stats(
        "Series in Prometheus",
        "Time series in memory. A jump without a deployment means a label with unbounded values.",
        COUNT,
        Query(total(foreign.SERIES)),
    ).decimals(1)


def targets() -> statetimeline.Panel:
    """Scrape targets."""
    return timeline(
        "Targets",
        "Prometheus' scrape targets. `applications` is the Collector's port with our metrics: if it is down, the"
        " service and the drift worker are not monitored.",
        states.steps(states.TARGETS),
        Query(f"min by ({foreign.JOB}) ({foreign.UP})", f"{{{{{foreign.JOB}}}}}"),
        states=states.TARGETS,
        links=[links.link("Targets in Prometheus", f"{links.PROMETHEUS}/targets")],
    )


def arriving_by_service() -> timeseries.Panel:
    """Spans by service."""
    return lines(
        "Received spans by service",
        "From the Collector's span metrics, before sampling. A service that receives requests but is missing here"
        " cannot reach the Collector.",
        EVENTS,
        Query(foreign.by(rate(foreign.SPAN_CALLS), foreign.SPAN_SERVICE), f"{{{{{foreign.SPAN_SERVICE}}}}}"),
        absent="no spans",
    )


def accepted() -> timeseries.Panel:
    """Accepted data."""
    return lines(
        "Accepted",
        "Spans and metric points per second that the Collector accepted.",
        EVENTS,
        Query(total(rate(foreign.ACCEPTED_SPANS)), "spans"),
        Query(total(rate(foreign.ACCEPTED_POINTS)), "metric points"),
        absent=NO_COLLECTOR,
    )


def losses() -> timeseries.Panel:
    """Lost data."""
    return (
        lines(
            "Refused, not queued, dropped",
            "Refused: the memory limit is reached, and senders retry. Not queued: the queue is full. Dropped: the"
            " backend rejected the data permanently. All three should be zero.",
            EVENTS,
            Query(_of(foreign.REFUSED, rate), "refused"),
            Query(_of(foreign.ENQUEUE_FAILED, rate), "not queued"),
            Query(_of(foreign.SEND_FAILED, rate), "dropped"),
            absent=NO_COLLECTOR,
            links=[links.TO_ALERTS],
        )
        .override_by_name("refused", [tint(states.YELLOW)])
        .override_by_name("not queued", [tint(states.ORANGE)])
        .override_by_name("dropped", [tint(states.RED)])
    )


def queue() -> timeseries.Panel:
    """Queued spans."""
    waiting = f"max by ({foreign.EXPORTER}) ({foreign.QUEUE_SIZE})"
    return lines(
        "Spans queued for Jaeger",
        "The Collector's queue on disk. It grows while Jaeger is unreachable and drains when Jaeger is back. When it is"
        " full, new spans are lost.",
        COUNT,
        Query(waiting, f"{{{{{foreign.EXPORTER}}}}}"),
        absent=NO_COLLECTOR,
    ).decimals(0)


def stored() -> timeseries.Panel:
    """Sent and stored spans."""
    failed = total(rate(foreign.JAEGER_FAILED))
    return lines(
        "Spans sent and stored",
        "Spans sent by the Collector, stored by Jaeger, and not stored because of an error. If sent and stored differ,"
        " traces are missing.",
        EVENTS,
        Query(total(rate(foreign.SENT_SPANS)), "sent by the Collector"),
        Query(total(rate(foreign.JAEGER_STORED)), "stored by Jaeger"),
        Query(f"{failed} or 0 * {total(rate(foreign.JAEGER_STORED))}", "failed"),
        absent=NO_JAEGER,
    ).override_by_name("failed", [tint(states.RED)])


def memory() -> timeseries.Panel:
    """Memory of the three programs."""
    return lines(
        "Memory",
        "Resident memory of the Collector, Jaeger and Prometheus. compose.yaml sets the limits.",
        BYTES,
        Query(total(foreign.COLLECTOR_MEMORY), "Collector"),
        Query(total(foreign.JAEGER_MEMORY), "Jaeger"),
        Query(total(foreign.PROMETHEUS_MEMORY), "Prometheus"),
    )


def collector_cpu() -> timeseries.Panel:
    """CPU usage of the Collector."""
    return lines(
        "CPU usage of the Collector",
        "CPU cores in use: 1 is one core.",
        COUNT,
        Query(total(rate(foreign.COLLECTOR_CPU)), "Collector"),
        absent=NO_COLLECTOR,
    ).decimals(2)


def scrapes() -> timeseries.Panel:
    """Scrape duration."""
    return lines(
        "Scrape duration",
        "Duration of each target's scrape. Scrapes run every 5 s and time out after 4 s.",
        SECONDS,
        Query(f"max by ({foreign.JOB}) ({foreign.SCRAPE_DURATION})", f"{{{{{foreign.JOB}}}}}"),
        links=[links.link("Targets in Prometheus", f"{links.PROMETHEUS}/targets")],
    )


def rules() -> timeseries.Panel:
    """Duration of rule evaluation."""
    return lines(
        "Rule evaluation",
        "Duration of the last evaluation of the rule groups, which run every 5 to 60 seconds.",
        SECONDS,
        Query(total(foreign.RULE_DURATION), "all groups"),
        Query(f"max({foreign.RULE_DURATION})", "slowest group"),
    )


def storage() -> timeseries.Panel:
    """Disk usage of Prometheus."""
    return stacked(
        lines(
            "Prometheus disk usage",
            "Blocks and write-ahead log. The retention in prometheus.yaml limits them.",
            BYTES,
            Query(total(foreign.BLOCK_BYTES), "blocks"),
            Query(total(foreign.LOG_BYTES), "write-ahead log"),
        )
    )
