"""The Service dashboard: rate, errors, duration and saturation of the API, rejections, and the prediction log."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import limits, links, saturation, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.panels import (
    COUNT,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    WRITES,
    Query,
    bars,
    heat_map,
    lines,
    quantiles,
    right_axis,
    stacked,
    stats,
    tint,
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
    largest,
    legend,
    quantile,
    rate,
    ratio,
    series,
    total,
)

NO_TRAFFIC, BATCHES = "no traffic", "p95 of batches"


def service() -> models.Dashboard:
    """The dashboard of the API."""
    return board(
        links.SERVICE,
        "Service",
        "The API: objectives, requests, errors, latency, saturation, rejected input, and the prediction log.",
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
            Row(8, [(8, rejected()), (8, lookups()), (8, scores())], "Input and scores"),
            Row(7, [(4, lost()), (4, spool()), (8, predictions_kept()), (8, backlog())], "Prediction log"),
        ],
    )


def budgets() -> stat.Panel:
    """Error budgets."""
    return stats(
        "Error budget left",
        "Share of each error budget that is left. Below zero the objective is missed. Availability: 99.9 % of"
        " prediction requests without a 5xx. Latency: 99 % of single predictions within 50 ms, of batches within 1 s."
        " Drift runs: 99 % of the time, a successful run within the last hour.",
        SHARE,
        Query(Recorded.BUDGET_LEFT, "{{objective}}"),
        absent=NO_TRAFFIC,
        colours=limits.BUDGET,
        links=[links.TO_ALERTS],
    ).decimals(0)


def burn_rates() -> timeseries.Panel:
    """Burn rates."""
    return lines(
        "Burn rate over one hour",
        "How fast each error budget is spent. At 1 it lasts exactly its window; with a 30-day budget, 14.4 for an hour"
        " pages.",
        TIMES,
        Query(burn_rate(Recorded.ERROR_RATIO_1H, "availability"), "availability"),
        Query(burn_rate(Recorded.SLOW_RATIO_1H, "latency"), "latency"),
        Query(burn_rate(Recorded.SLOW_BATCH_RATIO_1H, "batch_latency"), "batch latency"),
        limit=limits.BURN_LINES,
        absent=NO_TRAFFIC,
        links=[links.TO_ALERTS, links.TO_SLOW, links.TO_FAILED],
    ).decimals(1)


def requests() -> timeseries.Panel:
    """Request rate."""
    return stacked(
        lines(
            "Requests by route",
            "Requests per second, without health checks and /metrics. A batch counts once.",
            REQUESTS,
            Query(
                total(rate(series(names.HTTP_REQUEST_DURATION, part="count")), names.HTTP_ROUTE),
                legend(names.HTTP_ROUTE),
            ),
            absent=NO_TRAFFIC,
        )
    )


def errors() -> timeseries.Panel:
    """Error rates."""
    asked = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    rejections = total(
        rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, Match(names.HTTP_STATUS, "4..", "=~"), part="count"))
    )
    failed = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, FAILED, part="count")))
    return (
        lines(
            "Failed and rejected requests",
            "Share of prediction requests. 5xx: failures, which spend the error budget. 4xx: rejected input, see"
            " below.",
            SHARE,
            Query(ratio(failed, asked), "5xx", exemplars=True),
            Query(ratio(rejections, asked), "4xx"),
            absent=NO_TRAFFIC,
            links=[links.TO_FAILED],
        )
        .override_by_name("5xx", [tint(states.RED)])
        .override_by_name("4xx", [tint(states.YELLOW)])
    )


def latency() -> timeseries.Panel:
    """Latency."""
    return quantiles(
        lines(
            "Latency (objective: 50 ms)",
            "Latency of single predictions. Grey: batches, whose objective is 1 s. Dots are exemplars: click one for"
            " its trace.",
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
    """The distribution of latencies."""
    return heat_map(
        f"Latency of {SINGLE} (click a dot for its trace)",
        "Distribution of the latency of single predictions. Two bright bands are two kinds of requests, such as with"
        " and without a lookup.",
        SECONDS,
        Query(heat(names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), legend(names.BUCKET_BOUND), exemplars=True),
        axis="up to",
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW],
    )


def stages() -> timeseries.Panel:
    """Latency by step."""
    return lines(
        "p95 by step",
        "Request: in total. Prediction: look up, score, record. Lookup: finding a customer's features. Model: the model"
        " only. The difference between request and prediction is HTTP, validation and waiting.",
        SECONDS,
        Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "request"),
        Query(quantile(0.95, names.PREDICTION_DURATION, OF_MODEL), "prediction"),
        Query(quantile(0.95, names.LOOKUP_DURATION), "lookup"),
        Query(quantile(0.95, names.INFERENCE_DURATION, OF_MODEL), "model"),
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW],
    )


def rejected() -> bargauge.Panel:
    """Rejected items."""
    items = increase(series(names.REQUEST_REJECTED), WHOLE_RANGE)
    by_cause = total(items, names.FEATURE_NAME, names.ERROR_TYPE)
    return bars(
        "Rejected items in this time range",
        "Rejected items by feature and reason; _other is not a feature of the schema. If a tenth of all items is"
        " rejected, the quality verdict is act.",
        COUNT,
        Query(f"topk(10, {by_cause} > 0)", legend(names.FEATURE_NAME, names.ERROR_TYPE)),
        Query(f"{total(items)} == 0", "none rejected"),
        colours=states.thresholds((None, states.YELLOW)),
        links=[links.TO_DRIFT],
    ).decimals(0)


def lookups() -> timeseries.Panel:
    """Snapshot lookups."""
    found, broken = Match(names.ERROR_TYPE, ""), Match(names.ERROR_TYPE, ".+", "=~")
    failures = total(rate(series(names.LOOKUP_DURATION, broken, part="count")))
    everything = total(rate(series(names.LOOKUP_DURATION, part="count")))
    return lines(
        "Snapshot store",
        "Time to find a customer's features (left) and share of failed lookups (right). If the store is unreachable,"
        " requests with user_id get a 503; requests with features still work.",
        SECONDS,
        Query(quantile(0.5, names.LOOKUP_DURATION, found), "p50"),
        Query(quantile(0.99, names.LOOKUP_DURATION, found), "p99", exemplars=True),
        Query(ratio(failures, everything), "failed"),
        absent="no lookups",
    ).override_by_name("failed", [tint(states.RED), *right_axis(SHARE, "failed", soft_max=0.1)])


def scores() -> timeseries.Panel:
    """Predictions and scores."""
    positive = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, Match(names.OUTCOME, "1"), part="count")))
    everything = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="count")))
    mean = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="sum")))
    return lines(
        "Predicted positives and mean score",
        "Share of predictions that are 1, and mean probability. A step without a new model version is drift.",
        SHARE,
        Query(ratio(positive, everything), "positives"),
        Query(f"{mean} / ({everything} > 0)", "mean score"),
        absent=NO_TRAFFIC,
        links=[links.TO_DRIFT],
    )


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
