"""The Service dashboard: rate, errors, duration and saturation of the API, rejections, and the prediction log."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import database, limits, links, saturation, states
from observability.grafana.generate.board import Row, board, reading
from observability.grafana.generate.overrides import dashed, named, quantiles, right_axis, tint
from observability.grafana.generate.panels import (
    COUNT,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    WRITES,
    Figure,
    Query,
    bars,
    heat_map,
    lines,
    stacked,
    stats,
    strip,
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
    over,
    quantile,
    rate,
    ratio,
    series,
    total,
)
from observability.prometheus.generate.budgets import BUDGETS
from observability.prometheus.generate.objectives import DRIFT_RUNS, REQUEST_OBJECTIVES

NO_TRAFFIC, NO_KEYS = "no traffic", "no requests with keys"
ADMITTED = "admitted"
ALARM_WINDOWS = tuple(alarm.long for alarm in BUDGETS["1d"].alarms)
"""The long windows of the burn-rate alerts; each budget has the same."""

HOW_TO_READ = """\
**Objectives** come first: a budget that is left, and how fast it burns; a burn rate over the dashed red line pages.
Then **requests**: rate, errors, latency; *p95 by step* tells where the time goes. **Saturation** explains latency that
all requests share. **Input and scores** show what was rejected and what the model says. The **prediction log** must
keep up with requests: if its two lines diverge, the database is slow or unreachable.
"""


def service() -> models.Dashboard:
    """The dashboard of the API."""
    return board(
        links.SERVICE,
        "Service",
        "The API: objectives, requests, errors, latency, saturation, rejected input, and the prediction log.",
        [
            Row(7, [(8, budgets()), *((8, burn_rates(window)) for window in ALARM_WINDOWS)], "Objectives"),
            Row(8, [(8, requests()), (8, errors()), (8, latency())], "Requests"),
            Row(8, [(9, latency_heat()), (8, stages()), (7, batches())]),
            Row(
                7,
                [
                    (6, saturation.active()),
                    (6, saturation.loop_lag()),
                    (6, saturation.cpu(links.API)),
                    (6, saturation.memory(links.API, "service")),
                ],
                "Saturation",
            ),
            Row(8, [(8, rejected()), (8, database.lookups()), (8, scores())], "Input and scores"),
            Row(7, [(8, kept()), (8, predictions_kept()), (8, backlog())], "Prediction log"),
            Row(7, [(12, admitted()), (12, denied())], "API keys", collapsed=True),
            reading(HOW_TO_READ),
        ],
    )


def budgets() -> stat.Panel:
    """Error budgets."""
    panel = stats(
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
    for name in (*(each.name for each in REQUEST_OBJECTIVES), DRIFT_RUNS):
        panel.override_by_name(name, [named(name.replace("_", " "))])
    return panel


def burn_rates(window: str) -> timeseries.Panel:
    """Burn rates over one window of the alerts, with the limit that the rules record."""
    return (
        lines(
            f"Burn rate over {window}",
            "How fast each error budget is spent. At 1 it lasts exactly its window. Over the dashed red line, an alert"
            " pages: a budget of one day pages later than one of 30 days.",
            TIMES,
            *(
                Query(burn_rate(f"{each.ratio_name}{window}", each.name), each.name.replace("_", " "))
                for each in REQUEST_OBJECTIVES
            ),
            Query(f'{Recorded.BURN_LIMIT}{{over="{window}"}}', "pages"),
            limit=limits.BURN_LINE,
            absent=NO_TRAFFIC,
            links=[links.TO_ALERTS, links.TO_SLOW, links.TO_FAILED],
        )
        .override_by_name("pages", [tint(states.RED), dashed()])
        .decimals(1)
    )


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
    """Latency of single predictions."""
    return quantiles(
        lines(
            "Latency (objective: 50 ms)",
            "Latency of single predictions. Dots are exemplars: click one for its trace.",
            SECONDS,
            Query(quantile(0.5, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p50"),
            Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p95"),
            Query(quantile(0.99, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p99", exemplars=True),
            limit=limits.LATENCY_LINE,
            soft_max=1.2 * limits.OBJECTIVE_S,
            absent=NO_TRAFFIC,
            links=[links.TO_SLOW],
        )
    )


def batches() -> timeseries.Panel:
    """Latency of batches."""
    return quantiles(
        lines(
            "Batches (objective: 1 s)",
            "Latency of batches.",
            SECONDS,
            Query(quantile(0.5, names.HTTP_REQUEST_DURATION, ROUTE_BATCH), "p50"),
            Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_BATCH), "p95"),
            Query(quantile(0.99, names.HTTP_REQUEST_DURATION, ROUTE_BATCH), "p99", exemplars=True),
            limit=limits.BATCH_LINE,
            absent="no batches",
            links=[links.TO_SLOW],
        )
    )


def latency_heat() -> heatmap.Panel:
    """The distribution of latencies."""
    return heat_map(
        f"Latency of {SINGLE}",
        "Distribution of the latency of single predictions. Two strong bands are two kinds of requests, such as with"
        " and without a lookup. Click a dot for its trace.",
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
        colours=states.thresholds((None, states.YELLOW)),
        absent="none rejected",
        links=[links.TO_DRIFT],
    ).decimals(0)


def admitted() -> timeseries.Panel:
    """Requests by API key."""
    with_key = series(names.API_KEY_REQUESTS, Match(names.API_KEY_OUTCOME, ADMITTED))
    return stacked(
        lines(
            "Requests by API key",
            "Requests per second by the name of their key, health checks excluded. Empty if the service needs no keys.",
            REQUESTS,
            Query(total(rate(with_key), names.API_KEY_NAME), legend(names.API_KEY_NAME)),
            absent=NO_KEYS,
        )
    )


def denied() -> timeseries.Panel:
    """Requests without a valid API key."""
    without = series(names.API_KEY_REQUESTS, Match(names.API_KEY_OUTCOME, ADMITTED, "!="))
    return lines(
        "Requests without a valid API key",
        "Missing: no key was sent. Unknown: a wrong or revoked key. Forbidden: the named key lacks the scope. A client"
        " that still sends a revoked key looks like one that guesses keys; the routes in its traces tell more.",
        REQUESTS,
        Query(
            total(rate(without), names.API_KEY_OUTCOME, names.API_KEY_NAME),
            legend(names.API_KEY_OUTCOME, names.API_KEY_NAME, between=" "),
        ),
        absent=NO_KEYS,
        links=[links.TO_ALERTS],
    )


def scores() -> timeseries.Panel:
    """Predicted classes and scores."""
    classes = total(rate(series(names.PREDICTION_OUTCOMES, OF_MODEL)), names.OUTCOME)
    all_classes = f"ignoring ({names.prometheus_label(names.OUTCOME)}) group_left ()"
    everything = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="count")))
    mean = total(rate(series(names.PREDICTION_SCORES, OF_MODEL, part="sum")))
    counted = total(increase(series(names.PREDICTION_SCORES, OF_MODEL, part="count")))
    return lines(
        "Predicted classes and mean score",
        "Share of each predicted class, dashed in the reference; and the mean score, for a regression the mean position"
        " of its predictions in the reference. A step without a new model version is drift. The lines are shown"
        f" from more than {limits.LEAST_SCORES} scores in the window.",
        SHARE,
        Query(
            over(counted, limits.LEAST_SCORES, f"{classes} / {all_classes} ({everything} > 0)"), legend(names.OUTCOME)
        ),
        Query(
            largest(series(names.OUTCOME_REFERENCE, OF_MODEL), names.OUTCOME),
            f"{legend(names.OUTCOME)} in the reference",
        ),
        Query(over(counted, limits.LEAST_SCORES, f"{mean} / ({everything} > 0)"), "mean score"),
        absent=NO_TRAFFIC,
        links=[links.TO_DRIFT],
    ).override_by_regexp("/ in the reference$/", [dashed()])


def kept() -> stat.Panel:
    """Unrecorded predictions, which must stay at zero, and how long the database may be unreachable."""
    return strip(
        "Records",
        "Not recorded: predictions in this time range that were answered but could not be recorded. They are missing"
        " from drift windows. Spool usage: share of its limit. Answered predictions wait there for the database; when"
        " it is full, they are not recorded. Drainer: the process that moves them.",
        Figure(
            "not recorded",
            total(increase(series(names.LOG_UNRECORDED), WHOLE_RANGE)),
            COUNT,
            "no service",
            states.thresholds((None, states.GREEN), (0.5, states.RED)),
            decimals=0,
        ),
        Figure("spool usage", largest(Recorded.SPOOL_USED), SHARE, "no service", limits.FILL, decimals=1, trend=True),
        Figure("drainer", f"min({series(names.DRAINER_UP)})", COUNT, "no service", states=states.DRAINER),
        links=[links.TO_ALERTS],
    )


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
    return (
        lines(
            "Backlog",
            "Predictions that wait in the spool (left), and how long the oldest of them waits (right). A few seconds"
            " are normal; a rise means that the database is slow or unreachable, or that the drainer is down.",
            COUNT,
            Query(total(series(names.LOG_BACKLOG)), "waiting"),
            Query(largest(series(names.LOG_BACKLOG_AGE)), "oldest"),
        )
        .override_by_name("oldest", [tint(states.PURPLE), *right_axis(SECONDS, "oldest", soft_max=5)])
        .decimals(0)
    )
