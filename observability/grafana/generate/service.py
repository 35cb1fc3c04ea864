"""Service: rate, errors, duration and saturation of the API, what it refuses, and whether its predictions are kept."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import limits, links, saturation, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.overrides import quantiles, right_axis, tint
from observability.grafana.generate.panels import (
    COUNT,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    Query,
    bars,
    heat_map,
    lines,
    stacked,
    stats,
)
from observability.grafana.generate.prediction_log import (
    backlog,
    lost,
    predictions_kept,
    spool,
)
from observability.grafana.generate.queries import (
    FAILED,
    OF_MODEL,
    ROUTE_BATCH,
    ROUTE_BOTH,
    ROUTE_SINGLE,
    SINGLE,
    WHOLE_RANGE,
    Match,
    Recorded,
    burn_rate,
    heat,
    increase,
    legend,
    quantile,
    rate,
    ratio,
    series,
    total,
)

NO_TRAFFIC, BATCHES = "no traffic", "p95 of batches"


def service() -> models.Dashboard:
    """The board of the API."""
    return board(
        links.SERVICE,
        "Service",
        "The API: how much it is asked, what it answers, how fast, what it refuses, and how near to its limits it is.",
        [
            Row(5, [(10, budgets()), (14, burn_rates())], "Objectives"),
            Row(8, [(8, requests()), (8, errors()), (8, latency())], "Requests"),
            Row(8, [(12, latency_heat()), (12, stages())]),
            Row(
                7,
                [
                    (6, saturation.active()),
                    (6, saturation.loop_lag()),
                    (6, saturation.cpu(links.API)),
                    (6, saturation.memory(links.API)),
                ],
                "Saturation",
            ),
            Row(8, [(8, refused()), (8, lookups()), (8, scores())], "What it is asked"),
            Row(7, [(4, lost()), (4, spool()), (8, predictions_kept()), (8, backlog())], "Prediction log"),
        ],
    )


def budgets() -> stat.Panel:
    """How much may still go wrong."""
    return stats(
        "Error budget left",
        "Share of what may go wrong in the budget's window that is still left. Below zero the objective is missed."
        " Availability: 99.9 % of predictions without 5xx. Latency: 99 % of single predictions within 50 ms, of batches"
        " within 1 s. Drift runs: 99 % of hours with a run that could see.",
        SHARE,
        Query(Recorded.BUDGET_LEFT, "{{objective}}"),
        absent=NO_TRAFFIC,
        colours=limits.BUDGET,
        links=[links.TO_ALERTS],
    ).decimals(0)


def burn_rates() -> timeseries.Panel:
    """How fast it goes."""
    return lines(
        "Burn rate over one hour",
        "How many times faster than allowed each budget is spent. At 1 it lasts exactly its window; at 14.4, for an"
        " hour, somebody is paged.",
        TIMES,
        Query(burn_rate(Recorded.ERROR_RATIO_1H, "availability"), "availability"),
        Query(burn_rate(Recorded.SLOW_RATIO_1H, "latency"), "latency"),
        Query(burn_rate(Recorded.SLOW_BATCH_RATIO_1H, "batch_latency"), "batch latency"),
        limit=limits.BURN_LINES,
        absent=NO_TRAFFIC,
        links=[links.TO_ALERTS, links.TO_SLOW, links.TO_FAILED],
    ).decimals(1)


def requests() -> timeseries.Panel:
    """Rate."""
    return stacked(
        lines(
            "Requests by route",
            "Requests a second, health checks and metrics left out. A batch counts once.",
            REQUESTS,
            Query(
                total(rate(series(names.HTTP_REQUEST_DURATION, part="count")), names.HTTP_ROUTE),
                legend(names.HTTP_ROUTE),
            ),
            absent=NO_TRAFFIC,
        )
    )


def errors() -> timeseries.Panel:
    """Errors."""
    asked = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    refused_client = total(
        rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, Match(names.HTTP_STATUS, "4..", "=~"), part="count"))
    )
    failed = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, FAILED, part="count")))
    return (
        lines(
            "Answers that are no predictions",
            "Share of prediction requests. 5xx: ours, spends the budget. 4xx: refused for what was sent, see below.",
            SHARE,
            Query(ratio(failed, asked), "5xx", exemplars=True),
            Query(ratio(refused_client, asked), "4xx"),
            absent=NO_TRAFFIC,
            links=[links.TO_FAILED],
        )
        .override_by_name("5xx", [tint(states.RED)])
        .override_by_name("4xx", [tint(states.YELLOW)])
    )


def latency() -> timeseries.Panel:
    """Duration."""
    return quantiles(
        lines(
            "Latency against the objective of 50 ms",
            "Single predictions as the client waits for them. Grey: batches, whose objective is 1 s. Dots are"
            " exemplars: click one for its trace.",
            SECONDS,
            Query(quantile(0.5, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p50"),
            Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p95"),
            Query(quantile(0.99, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p99", exemplars=True),
            Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_BATCH), BATCHES),
            limit=limits.LATENCY_LINE,
            absent=NO_TRAFFIC,
            links=[links.TO_SLOW],
        ).override_by_name(BATCHES, [tint(states.GREY)])
    )


def latency_heat() -> heatmap.Panel:
    """All of it, not three quantiles."""
    return heat_map(
        f"Latency of {SINGLE}: click a dot for its trace",
        "How many single predictions took how long. Two bright bands are two kinds of requests: with and without a look"
        " into the store, or a part of them that waits.",
        SECONDS,
        Query(heat(names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), legend(names.BUCKET_BOUND), exemplars=True),
        axis="up to",
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW],
    )


def stages() -> timeseries.Panel:
    """Where the time goes."""
    return lines(
        "Where the time goes, p95",
        "Request: all of it. Prediction: look up, score, record. Lookup: finding a customer's features. Model: the"
        " model alone. What lies between request and prediction is HTTP, checking and waiting.",
        SECONDS,
        Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "request"),
        Query(quantile(0.95, names.PREDICTION_DURATION, OF_MODEL), "prediction"),
        Query(quantile(0.95, names.LOOKUP_DURATION), "lookup"),
        Query(quantile(0.95, names.INFERENCE_DURATION, OF_MODEL), "model"),
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW],
    )


def refused() -> bargauge.Panel:
    """What clients send that no model can score."""
    rejected = increase(series(names.REQUEST_REJECTED), WHOLE_RANGE)
    by_cause = total(rejected, names.FEATURE_NAME, names.ERROR_TYPE)
    return bars(
        "Refused items in this time range",
        "Items refused for a feature's sake, by feature and reason; _other is no feature of the schema. A tenth of all"
        " that is asked makes the quality verdict act.",
        COUNT,
        Query(f"topk(10, {by_cause} > 0)", legend(names.FEATURE_NAME, names.ERROR_TYPE)),
        Query(f"{total(rejected)} == 0", "nothing refused"),
        colours=states.thresholds((None, states.YELLOW)),
        links=[links.TO_DRIFT],
    ).decimals(0)


def lookups() -> timeseries.Panel:
    """The snapshot store."""
    found, broken = Match(names.ERROR_TYPE, ""), Match(names.ERROR_TYPE, ".+", "=~")
    failures = total(rate(series(names.LOOKUP_DURATION, broken, part="count")))
    everything = total(rate(series(names.LOOKUP_DURATION, part="count")))
    return lines(
        "Snapshot store",
        "Time to find a customer's features (left), and share of lookups that failed (right). Without the store"
        " requests with features go on; those by customer get 503.",
        SECONDS,
        Query(quantile(0.5, names.LOOKUP_DURATION, found), "p50"),
        Query(quantile(0.99, names.LOOKUP_DURATION, found), "p99", exemplars=True),
        Query(ratio(failures, everything), "failed"),
        absent="no lookups",
    ).override_by_name("failed", [tint(states.RED), *right_axis(SHARE, "failed", soft_max=0.1)])


def scores() -> timeseries.Panel:
    """What it answers."""
    positive = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, Match(names.OUTCOME, "1"), part="count")))
    everything = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="count")))
    mean = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="sum")))
    return lines(
        "Predicted positives and mean score",
        "Share of predictions that say 1, and the mean probability. A step without another model version is drift.",
        SHARE,
        Query(ratio(positive, everything), "positives"),
        Query(f"{mean} / ({everything} > 0)", "mean score"),
        absent=NO_TRAFFIC,
        links=[links.TO_DRIFT],
    )
