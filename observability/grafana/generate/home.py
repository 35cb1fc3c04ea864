"""The home dashboard, Latency × drift: what an on-call engineer needs in the first thirty seconds."""

from __future__ import annotations

from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.panels import (
    COUNT,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    Query,
    dashed,
    heat_map,
    lines,
    quantiles,
    right_axis,
    state_now,
    stats,
    stepped,
    timeline,
    tint,
)
from observability.grafana.generate.queries import (
    FAILED,
    OF_MODEL,
    ROUTE_BOTH,
    ROUTE_SINGLE,
    Match,
    Recorded,
    heat,
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
NO_TRAFFIC = "no traffic"
SHARE_LABEL, THRESHOLD_LABEL = "drift share", "drift threshold"


def home() -> models.Dashboard:
    """The dashboard that Grafana opens."""
    return board(
        links.HOME,
        "Latency × drift",
        "Latency and drift on one time axis. Click a point to open its trace or report.",
        [
            Row(
                4,
                [
                    (4, _recommendation()),
                    (8, _verdicts()),
                    (3, _requests()),
                    (2, _errors()),
                    (2, _p95()),
                    (2, _share()),
                    (3, _age()),
                ],
            ),
            Row(10, [(24, latency_and_drift())]),
            Row(8, [(12, unusual_features()), (12, latency_by_input())]),
            Row(9, [(14, drift_by_feature()), (10, firing())]),
        ],
    )


def _recommendation() -> stat.Panel:
    return state_now(
        "Recommendation",
        "The recommendation of the last drift run. UNKNOWN: it could not compare. No worker: no metrics from the"
        " worker.",
        states.RECOMMENDATIONS,
        Query(states.recommendation(), "recommendation"),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _verdicts() -> stat.Panel:
    return state_now(
        "Verdicts",
        "Quality: rejected, missing or new values. Covariate: the features' distributions. Prediction: the scores'"
        " distribution. Performance: ROC AUC and Brier score on labels. Unknown: not enough data, or no worker.",
        states.VERDICTS,
        *(Query(states.verdict(question), question) for question in states.QUESTIONS),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _requests() -> stat.Panel:
    requests = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    return stats(
        "Requests",
        "Prediction requests per second, single and batch.",
        REQUESTS,
        Query(requests),
        absent=NO_TRAFFIC,
        links=[links.TO_SERVICE],
    ).decimals(1)


def _errors() -> stat.Panel:
    failed = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, FAILED, part="count")))
    requests = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    return stats(
        "Errors",
        "Share of prediction requests answered with a 5xx. The objective allows 0.1 %.",
        SHARE,
        Query(ratio(failed, requests)),
        absent=NO_TRAFFIC,
        colours=limits.ERRORS,
        links=[links.TO_FAILED, links.TO_SERVICE],
    ).decimals(2)


def _p95() -> stat.Panel:
    return stats(
        "p95",
        "Latency of single predictions. Objective: 99 % within 50 ms.",
        SECONDS,
        Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE)),
        absent=NO_TRAFFIC,
        colours=limits.LATENCY,
        links=[links.TO_SLOW, links.TO_SERVICE],
    )


def _share() -> stat.Panel:
    return stats(
        "Drift share",
        f"Drifted features ÷ compared features in the last window. Red from the default threshold of"
        f" {limits.DRIFT_SHARE:.0%}. Unknown: the last runs could not compare.",
        SHARE,
        Query(largest(series(names.DRIFT_SHARE, OF_MODEL))),
        absent="unknown",
        colours=limits.SHARE_OF_DRIFT,
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    ).decimals(0)


def _age() -> stat.Panel:
    return stats(
        "Last drift run",
        "Time since the last successful drift run. It also grows with little traffic, which is no failure. Unknown: no"
        " worker.",
        SECONDS,
        Query(Recorded.LAST_RUN_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS, links.TO_DRIFT],
    ).decimals(0)


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
        absent=NO_TRAFFIC,
        links=[links.TO_SLOW, links.TO_STRANGE, links.TO_REPORT],
    ).axis_label("latency")
    panel.axis_soft_max(1.2 * limits.OBJECTIVE_S)
    quantiles(panel)
    panel.override_by_name(SHARE_LABEL, [*right_axis(SHARE, "drift", soft_max=0.5), *stepped(), tint(states.PURPLE)])
    panel.override_by_name(
        THRESHOLD_LABEL, [*right_axis(SHARE, "drift", soft_max=0.5), *stepped(), tint(states.PURPLE), dashed()]
    )
    return panel


def unusual_features() -> heatmap.Panel:
    """Drift per request, within seconds and without the worker."""
    return heat_map(
        "Unusual features per prediction (click a dot for its trace)",
        "Features of a prediction that are outside the reference's 0.5-99.5 % range or were never seen. Without drift"
        " almost all predictions are in the lowest rows; bright upper rows are drift.",
        COUNT,
        Query(heat(names.UNUSUAL_FEATURES, OF_MODEL), legend(names.BUCKET_BOUND), exemplars=True),
        axis="unusual features up to",
        absent=NO_TRAFFIC,
        links=[links.TO_STRANGE],
    )


def latency_by_input() -> timeseries.Panel:
    """Latency by typicality: if drift causes latency, the lines diverge."""
    panel = lines(
        "p95 by typicality: are unusual inputs slower?",
        "Time to look up, score and record a prediction. Usual: no unusual feature. Unusual: 1 or 2. Strange: 3 or"
        " more. If the lines rise together, drift is not the cause.",
        SECONDS,
        *(
            Query(
                quantile(0.95, names.PREDICTION_DURATION, OF_MODEL, Match(names.TYPICALITY, kind)),
                kind,
                exemplars=kind == "strange",
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
        "Yellow: pending. Orange: ticket. Red: page. Click to open the alert in Prometheus.",
        states.steps(states.ALERTS),
        Query(states.quiet(), "no alerts"),
        Query(states.alerts(), "{{alertname}}"),
        states=states.ALERTS,
        absent="no alerts",
        links=[links.TO_ALERTS, links.TO_PIPELINE],
    )
