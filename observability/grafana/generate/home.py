"""The home dashboard, Latency × drift: is it slow, is it drifting, is the model still right?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, performance, states, traces
from observability.grafana.generate.board import Row, board, reading
from observability.grafana.generate.overrides import dashed, quantiles, right_axis, stepped, tint
from observability.grafana.generate.panels import (
    DISTANCE,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    Figure,
    Query,
    lines,
    of_the_whole,
    state_now,
    strip,
    timeline,
)
from observability.grafana.generate.queries import (
    FAILED,
    OF_MODEL,
    ROUTE_BOTH,
    ROUTE_SINGLE,
    Match,
    Recorded,
    largest,
    legend,
    quantile,
    rate,
    ratio,
    series,
    total,
)

KINDS = {"usual": states.GREEN, "unusual": states.YELLOW, "strange": states.RED}
"""`leeway.input.typicality`: 0, 1 or 2, 3 or more unusual features."""
STRANGE = "strange"
NO_TRAFFIC = "no traffic"
SHARE_LABEL, THRESHOLD_LABEL = "drift share", "drift threshold"

HOW_TO_READ = """\
**Is it slow?** p95 at the top, and the orange line against the red one, which is the objective. **Is it drifting?** The
purple line against the dashed one; red parts of the stack are strange inputs, seconds after they begin. **Is the model
still right?** The verdict *performance*, from labels. If latency and drift rise together, compare the lines of *p95 by
typicality*: only if strange inputs are slower than usual ones is the input the cause. Dots are exemplars: click one for
its trace. Grey is unknown, never good.
"""


def home() -> models.Dashboard:
    """The dashboard that Grafana opens."""
    return board(
        links.HOME,
        "Latency × drift",
        "Latency and drift on one time axis. Click a point to open its trace or report.",
        [
            Row(4, [(5, recommendation()), (8, _verdicts()), (11, _now())]),
            Row(10, [(24, latency_and_drift())]),
            Row(8, [(12, typicality()), (12, latency_by_input())]),
            Row(9, [(12, drift_by_feature()), (12, firing())]),
            Row(8, [(12, traces.slowest()), (12, traces.strangest())]),
            reading(HOW_TO_READ),
        ],
    )


def recommendation() -> stat.Panel:
    """The current recommendation."""
    return state_now(
        "Recommendation",
        "The recommendation of the last drift run. INVESTIGATE: the quality verdict is act, one feature is far beyond"
        " its threshold, or the drift share is over its threshold but not yet confirmed. RETRAIN: the performance"
        " verdict is act, or the share was over its threshold in several windows in a row. UNKNOWN: the run could not"
        " compare. No worker: no metrics from the worker.",
        states.RECOMMENDATIONS,
        Query(states.recommendation(), "recommendation"),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _verdicts() -> stat.Panel:
    return state_now(
        "Verdicts",
        "Quality: rejected, missing or new values. Covariate: the features' distributions. Prediction: the scores'"
        " distribution. Performance: the model's figures on labels, against its card. Unknown: not enough data, or no"
        " worker.",
        states.VERDICTS,
        *(Query(states.verdict(question), question) for question in states.QUESTIONS),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _now() -> stat.Panel:
    asked = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    failed = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, FAILED, part="count")))
    p95 = quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE)
    return strip(
        "Now",
        "Requests: predictions per second, single and batch. Errors: share answered with a 5xx; the objective allows"
        " 0.1 %. p95: latency of single predictions; the objective is 99 % within 50 ms. Drift share: drifted features"
        f" ÷ compared features, red from the default threshold of {limits.DRIFT_SHARE:.0%}. Performance: on the last"
        " labels, the ROC AUC of two classes, the accuracy of more, the mean absolute error of a regression. Last run:"
        " time since the last successful drift run; it also grows with little traffic, which is no failure.",
        Figure("requests", asked, REQUESTS, NO_TRAFFIC, decimals=1, trend=True),
        Figure("errors", ratio(failed, asked), SHARE, NO_TRAFFIC, limits.ERRORS, decimals=2, trend=True),
        Figure("p95", p95, SECONDS, NO_TRAFFIC, limits.LATENCY, trend=True),
        drift_share(),
        Figure("performance", performance.first_figure(), DISTANCE, "no labels", decimals=2, trend=True),
        last_run(),
        links=[links.TO_SERVICE, links.TO_DRIFT, links.TO_SLOW, links.TO_LAST_REPORT],
    )


def drift_share() -> Figure:
    """The drift share of the last window."""
    share = largest(series(names.DRIFT_SHARE, OF_MODEL))
    return Figure("drift share", share, SHARE, "unknown", limits.SHARE_OF_DRIFT, decimals=0, trend=True)


def last_run() -> Figure:
    """Time since the last successful run."""
    return Figure("last run", f"max({Recorded.LAST_RUN_AGE})", SECONDS, "unknown", limits.AGE, decimals=0)


def latency_and_drift() -> timeseries.Panel:
    """The main panel: p50, p95 and p99 at the left, drift share and threshold at the right."""
    panel = lines(
        "Latency of single predictions (left) and drift share (right)",
        "Dots are exemplars: click one to open the trace of that request. Click the drift share to open the report at"
        " that time. Orange marks: the recommendation changed. Blue marks: a new model version. Red: an active fault.",
        SECONDS,
        Query(quantile(0.5, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p50"),
        Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p95"),
        Query(quantile(0.99, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE), "p99", exemplars=True),
        Query(largest(series(names.DRIFT_SHARE, OF_MODEL)), SHARE_LABEL),
        Query(largest(series(names.DRIFT_THRESHOLD)), THRESHOLD_LABEL),
        limit=limits.LATENCY_LINE,
        soft_max=1.2 * limits.OBJECTIVE_S,
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW, links.TO_STRANGE, links.TO_REPORT],
    ).axis_label("latency")
    quantiles(panel)
    panel.override_by_name(SHARE_LABEL, [*right_axis(SHARE, "drift", soft_max=0.5), *stepped(), tint(states.PURPLE)])
    panel.override_by_name(
        THRESHOLD_LABEL, [*right_axis(SHARE, "drift", soft_max=0.5), *stepped(), tint(states.PURPLE), dashed()]
    )
    return panel


def typicality() -> timeseries.Panel:
    """Drift per request, within seconds and without the worker."""
    panel = of_the_whole(
        lines(
            "Usual, unusual and strange inputs",
            "Single predictions by typicality, as shares. Usual: no unusual feature, which is one outside the"
            " reference's 0.5-99.5 % range or a category that was never seen. Unusual: 1 or 2. Strange: 3 or more. Dots"
            " are exemplars of strange inputs: click one to open its trace.",
            REQUESTS,
            *(Query(_rate_of(kind), kind, exemplars=kind == STRANGE) for kind in KINDS),
            absent=NO_TRAFFIC,
            links=[links.TO_STRANGE],
        )
    )
    for kind, colour in KINDS.items():
        panel.override_by_name(kind, [tint(colour)])
    return panel


def _rate_of(kind: str) -> str:
    """Predictions per second of one typicality. Only buckets have exemplars; the largest counts all predictions."""
    where = (OF_MODEL, Match(names.TYPICALITY, kind))
    if kind == STRANGE:
        return largest(total(rate(series(names.PREDICTION_DURATION, *where, part="bucket")), names.BUCKET_BOUND))
    return total(rate(series(names.PREDICTION_DURATION, *where, part="count")))


def latency_by_input() -> timeseries.Panel:
    """Latency by typicality: if drift causes latency, the lines diverge."""
    panel = lines(
        "p95 by typicality: are strange inputs slower?",
        "Time to look up, score and record a prediction. Usual: no unusual feature. Unusual: 1 or 2. Strange: 3 or"
        " more. If the lines rise together, drift is not the cause.",
        SECONDS,
        *(
            Query(
                quantile(0.95, names.PREDICTION_DURATION, OF_MODEL, Match(names.TYPICALITY, kind)),
                kind,
                exemplars=kind == STRANGE,
            )
            for kind in KINDS
        ),
        absent=NO_TRAFFIC,
        links=[links.TO_STRANGE, links.TO_SLOW],
    )
    for kind, colour in KINDS.items():
        panel.override_by_name(kind, [tint(colour)])
    return panel


def drift_by_feature() -> statetimeline.Panel:
    """Drift of each feature over time."""
    return timeline(
        "Drift per feature",
        "Each feature's distance from the reference, in multiples of its effective threshold. Green: below 0.8. Yellow:"
        " from 0.8. Orange: drifted, from 1. Red: from 3, or entirely missing. Gap: no comparison."
        " Click to open the report at that time.",
        features.COLOURS,
        Query(features.by_feature(), legend(names.FEATURE_NAME)),
        unit=TIMES,
        absent="no drift run in the last three intervals",
        links=[links.TO_REPORT, links.TO_DRIFT],
    ).decimals(2)


def firing() -> statetimeline.Panel:
    """Pending and firing alerts over time."""
    return timeline(
        "Alerts",
        "Yellow: pending. Orange: ticket. Red: page. Click an alert to open its runbook.",
        states.steps(states.ALERTS),
        Query(states.quiet(), "no alerts"),
        Query(states.alerts(), "{{alertname}}"),
        states=states.ALERTS,
        absent="no alerts",
        links=[links.TO_ALERTS, links.TO_PIPELINE],
    ).override_by_query(
        "B", [models.DynamicConfigValue("links", [each.build() for each in (links.TO_RUNBOOK, links.TO_ALERTS)])]
    )
