"""The Pipeline dashboard: health of the Collector, Prometheus and Jaeger, on which the other dashboards depend."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import database, foreign, limits, links, states
from observability.grafana.generate.board import Row, board, reading
from observability.grafana.generate.overrides import tint
from observability.grafana.generate.panels import (
    BYTES,
    COUNT,
    ITEMS,
    SECONDS,
    SHARE,
    SPANS,
    Figure,
    Query,
    lines,
    stacked,
    strip,
    timeline,
)
from observability.grafana.generate.queries import WHOLE_RANGE, increase, legend, rate, series, total
from observability.grafana.generate.saturation import of_process

NO_COLLECTOR = "no Collector"
NO_JAEGER = "no metrics from Jaeger"

HOW_TO_READ = """\
Data flows from the service and the drift worker to the **Collector**, from there to **Prometheus** (metrics) and
**Jaeger** (traces). Look at *Now* first: anything that is lost, failed or restarted explains gaps elsewhere. Then find
the first step whose numbers differ from those of the step before: received by the Collector, sent by its exporters,
stored by Jaeger. The **database** is seen through its clients.
"""


def pipeline() -> models.Dashboard:
    """The dashboard of the telemetry pipeline."""
    return board(
        links.PIPELINE,
        "Pipeline",
        "Whether metrics and traces arrive completely. A gap here explains gaps on the other dashboards.",
        [
            Row(4, [(12, now()), (12, restarts())]),
            Row(6, [(8, targets()), (8, arriving_by_service()), (8, dropped_by_process())]),
            Row(8, [(6, received()), (6, sent()), (6, losses()), (6, queue())], "Collector"),
            Row(8, [(8, stored()), (8, memory()), (8, collector_cpu())], "Jaeger and resources"),
            Row(
                8,
                [(8, database.lookups()), (8, database.writes()), (8, database.windows())],
                "PostgreSQL, as its clients see it",
            ),
            Row(8, [(8, scrapes()), (8, rules()), (8, storage())], "Prometheus", collapsed=True),
            reading(HOW_TO_READ),
        ],
    )


def _of(counters: tuple[str, ...], count: Callable[[str], str]) -> str:
    """The counters' sum. Some counters start with the first loss: until then the sum is zero if the Collector is up."""
    seen = f"0 * {total(count(foreign.ACCEPTED_SPANS))}"
    return " + ".join(f"({total(count(each))} or {seen})" for each in counters)


def now() -> stat.Panel:
    """Lost telemetry, the fullest queue, failed rules, and the number of series."""
    losing = states.thresholds((None, states.GREEN), (0.5, states.RED))
    counters = foreign.REFUSED + foreign.SEND_FAILED + foreign.ENQUEUE_FAILED
    return strip(
        "Now",
        "Lost: spans and metric points in this time range that the Collector refused, could not queue or dropped; if"
        " not zero, dashboards have gaps. Fullest queue: the Collector's queue is on disk and fills while Jaeger is"
        " unreachable; nothing is lost below 100 %. Failed rules: evaluations in this time range; such an alert cannot"
        " fire. Series: time series in Prometheus; a jump without a deployment means a label with unbounded values.",
        Figure(
            "lost", _of(counters, lambda each: increase(each, WHOLE_RANGE)), COUNT, NO_COLLECTOR, losing, decimals=0
        ),
        Figure(
            "fullest queue",
            f"max({foreign.QUEUE_SIZE} / {foreign.QUEUE_CAPACITY})",
            SHARE,
            NO_COLLECTOR,
            limits.FILL,
            decimals=1,
            trend=True,
        ),
        Figure(
            "failed rules", total(increase(foreign.RULE_FAILURES, WHOLE_RANGE)), COUNT, "unknown", losing, decimals=0
        ),
        Figure("series", total(foreign.SERIES), COUNT, "unknown", decimals=1, trend=True),
        links=[links.TO_ALERTS],
    )


def restarts() -> stat.Panel:
    """Restarts of each process."""
    restarted = states.thresholds((None, states.GREEN), (1, states.ORANGE))
    cpu_time = names.PROCESS_CPU_TIME
    counted = {
        "service": f"max(resets({series(cpu_time, *of_process(links.API))}[{WHOLE_RANGE}]))",
        "drift": f"max(resets({series(cpu_time, *of_process(links.WORKER))}[{WHOLE_RANGE}]))",
        "Collector": f"max(resets({foreign.COLLECTOR_UPTIME}[{WHOLE_RANGE}]))",
        "Jaeger": f"max(resets({foreign.JAEGER_UPTIME}[{WHOLE_RANGE}]))",
        "Prometheus": f"max(changes({foreign.PROMETHEUS_START}[{WHOLE_RANGE}]))",
    }
    return strip(
        "Restarts in this time range",
        "How often each process was started again, by counters that restart with it. Of several instances, the one"
        " that restarted most.",
        *(Figure(name, counter, COUNT, "not seen", restarted, decimals=0) for name, counter in counted.items()),
        links=[links.TO_TARGETS],
    )


def targets() -> statetimeline.Panel:
    """Scrape targets."""
    return timeline(
        "Targets",
        "Prometheus' scrape targets. `applications` is the Collector's port with our metrics: if it is down, the"
        " service and the drift worker are not monitored.",
        states.steps(states.TARGETS),
        Query(f"min by ({foreign.JOB}) ({foreign.UP})", foreign.legend(foreign.JOB)),
        states=states.TARGETS,
        links=[links.TO_TARGETS],
    )


def arriving_by_service() -> timeseries.Panel:
    """Spans by service."""
    return lines(
        "Received spans by service",
        "From the Collector's span metrics, before sampling. A service that receives requests but is missing here"
        " cannot reach the Collector.",
        SPANS,
        Query(foreign.by(rate(foreign.SPAN_CALLS), foreign.SPAN_SERVICE), foreign.legend(foreign.SPAN_SERVICE)),
        absent="no spans",
    )


def dropped_by_process() -> timeseries.Panel:
    """Telemetry that never left its process."""
    by = (foreign.JOB, names.TELEMETRY_SIGNAL)
    return lines(
        "Dropped by our processes",
        "Spans and metric points per second that a process dropped: it makes more than it can send, or the Collector"
        " does not accept them. Requests are not affected. Should be zero.",
        ITEMS,
        Query(total(rate(series(names.TELEMETRY_DROPPED)), *by), legend(*by)),
        soft_max=1,
        absent="no OTLP export",
        links=[links.TO_ALERTS],
    )


def received() -> timeseries.Panel:
    """Received data by receiver."""
    receiver = (foreign.RECEIVER, foreign.TRANSPORT)
    return lines(
        "Received, by receiver",
        "Spans and metric points per second that each receiver of the Collector accepted.",
        ITEMS,
        Query(foreign.by(rate(foreign.ACCEPTED_SPANS), *receiver), f"spans · {foreign.legend(*receiver)}"),
        Query(foreign.by(rate(foreign.ACCEPTED_POINTS), *receiver), f"points · {foreign.legend(*receiver)}"),
        absent=NO_COLLECTOR,
    )


def sent() -> timeseries.Panel:
    """Sent data by exporter."""
    exporter = foreign.EXPORTER
    return lines(
        "Sent, by exporter",
        "Spans and metric points per second that each exporter of the Collector delivered. Prometheus also receives"
        " the span metrics, which no receiver accepted.",
        ITEMS,
        Query(foreign.by(rate(foreign.SENT_SPANS), exporter), f"spans · {foreign.legend(exporter)}"),
        Query(foreign.by(rate(foreign.SENT_POINTS), exporter), f"points · {foreign.legend(exporter)}"),
        absent=NO_COLLECTOR,
    )


def losses() -> timeseries.Panel:
    """Lost data."""
    return (
        lines(
            "Lost, by cause",
            "Refused: the memory limit is reached, and senders retry. Not queued: the queue is full. Dropped: the"
            " backend rejected the data permanently. All three should be zero.",
            ITEMS,
            Query(_of(foreign.REFUSED, rate), "refused"),
            Query(_of(foreign.ENQUEUE_FAILED, rate), "not queued"),
            Query(_of(foreign.SEND_FAILED, rate), "dropped"),
            soft_max=1,
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
        Query(waiting, foreign.legend(foreign.EXPORTER)),
        soft_max=10,
        absent=NO_COLLECTOR,
    ).decimals(0)


def stored() -> timeseries.Panel:
    """Sent and stored spans."""
    failed = total(rate(foreign.JAEGER_FAILED))
    return lines(
        "Spans sent and stored",
        "Spans sent by the Collector, stored by Jaeger, and not stored because of an error. If sent and stored differ,"
        " traces are missing.",
        SPANS,
        Query(total(rate(foreign.SENT_SPANS)), "sent by the Collector"),
        Query(total(rate(foreign.JAEGER_STORED)), "stored by Jaeger"),
        Query(f"{failed} or 0 * {total(rate(foreign.JAEGER_STORED))}", "failed"),
        absent=NO_JAEGER,
    ).override_by_name("failed", [tint(states.RED)])


def memory() -> timeseries.Panel:
    """Memory of the three programs."""
    used = {
        "Collector": (foreign.COLLECTOR_MEMORY, "otel-collector"),
        "Jaeger": (foreign.JAEGER_MEMORY, "jaeger"),
        "Prometheus": (foreign.PROMETHEUS_MEMORY, "prometheus"),
    }
    return lines(
        "Memory of the containers",
        "Resident memory as a share of each container's limit in compose.yaml. A container that reaches 100 % is"
        " killed.",
        SHARE,
        *(Query(f"{total(each)} / {limits.memory_limit(name)}", title) for title, (each, name) in used.items()),
        limit=limits.WHOLE_LINE,
        soft_max=1,
    ).decimals(0)


def collector_cpu() -> timeseries.Panel:
    """CPU usage of the Collector."""
    return lines(
        "CPU usage of the Collector",
        "100 % is one core. compose.yaml sets no limit.",
        SHARE,
        Query(total(rate(foreign.COLLECTOR_CPU)), "Collector"),
        absent=NO_COLLECTOR,
    ).decimals(0)


def scrapes() -> timeseries.Panel:
    """Scrape duration."""
    return lines(
        "Scrape duration",
        "Duration of each target's scrape. Scrapes run every 5 s and time out after 4 s.",
        SECONDS,
        Query(f"max by ({foreign.JOB}) ({foreign.SCRAPE_DURATION})", foreign.legend(foreign.JOB)),
        links=[links.TO_TARGETS],
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
