"""Latency × drift, the home board: what an on-call engineer needs in the first half minute."""

from __future__ import annotations

from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.overrides import dashed, quantiles, right_axis, stepped, tint
from observability.grafana.generate.panels import (
    COUNT,
    REQUESTS,
    SECONDS,
    SHARE,
    TIMES,
    Query,
    heat_map,
    lines,
    state_now,
    stats,
    timeline,
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
"""`leeway.input.typicality`: 0, 1 to 2, 3 or more unusual features."""
NO_TRAFFIC = "no traffic"
SHARE_LABEL, THRESHOLD_LABEL = "drift share", "drift threshold"


def home() -> models.Dashboard:
    """The board that Grafana opens with."""
    return board(
        links.HOME,
        "Latency × drift",
        "How fast Leeway answers and how far its inputs have drifted, on one time axis. Each panel leads to the cause.",
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
        "What the last drift run asks for. UNKNOWN: it could not see. No worker: nothing reports.",
        states.RECOMMENDATIONS,
        Query(states.recommendation(), "recommendation"),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _verdicts() -> stat.Panel:
    return state_now(
        "Verdicts",
        "Quality: what is refused, missing or new. Covariate: the features' distributions. Prediction: the scores'."
        " Performance: ROC AUC and Brier score on labels. Unknown: the worker cannot tell, or does not run.",
        states.VERDICTS,
        *(Query(states.verdict(question), question) for question in states.QUESTIONS),
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    )


def _requests() -> stat.Panel:
    requests = total(rate(series(names.HTTP_REQUEST_DURATION, ROUTE_BOTH, part="count")))
    return stats(
        "Requests",
        "Prediction requests a second, single and batch.",
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
        "Share of prediction requests answered with 5xx. The objective allows 0.1 %.",
        SHARE,
        Query(ratio(failed, requests)),
        absent=NO_TRAFFIC,
        colours=limits.ERRORS,
        links=[links.TO_FAILED, links.TO_SERVICE],
    ).decimals(2)


def _p95() -> stat.Panel:
    return stats(
        "p95",
        "95 % of single predictions are answered within it. The objective: 99 % within 50 ms.",
        SECONDS,
        Query(quantile(0.95, names.HTTP_REQUEST_DURATION, ROUTE_SINGLE)),
        absent=NO_TRAFFIC,
        colours=limits.LATENCY,
        links=[links.TO_SLOW, links.TO_SERVICE],
    )


def _share() -> stat.Panel:
    return stats(
        "Drift share",
        f"Drifted features ÷ features compared, in the last window. Red from the default threshold of"
        f" {limits.DRIFT_SHARE:.0%}. Unknown: the last runs could not see.",
        SHARE,
        Query(largest(series(names.DRIFT_SHARE, OF_MODEL))),
        absent="unknown",
        colours=limits.SHARE_OF_DRIFT,
        links=[links.TO_LAST_REPORT, links.TO_DRIFT],
    ).decimals(0)


def _age() -> stat.Panel:
    return stats(
        "Last drift run",
        "Time since a drift run last could see. On a quiet night it grows, and that is no fault. Unknown: no worker"
        " reports.",
        SECONDS,
        Query(Recorded.LAST_RUN_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS, links.TO_DRIFT],
    ).decimals(0)


def latency_and_drift() -> timeseries.Panel:
    """The point of it all: p50, p95, p99 on the left, drift share against its threshold on the right."""
    panel = lines(
        "Latency × drift: single predictions (left), share of drifted features (right)",
        "Dots are exemplars: a click opens the trace of that very request. A click on the drift share opens the report"
        " of that moment. Orange marks: the recommendation changed. Blue marks: another model version began to serve.",
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
    """Drift on every request, seconds after it and without the worker."""
    return heat_map(
        "Unusual features per prediction: click a dot for its trace",
        "How many features of one prediction lie outside the reference's 0.5-99.5 % range, or were never seen."
        " Without drift nearly all is at the bottom; light in the upper rows is drift, seen at once.",
        COUNT,
        Query(heat(names.UNUSUAL_FEATURES, OF_MODEL), legend(names.BUCKET_BOUND), exemplars=True),
        axis="unusual features, up to",
        absent=NO_TRAFFIC,
        links=[links.TO_STRANGE],
    )


def latency_by_input() -> timeseries.Panel:
    """Do drift and latency go together? If so, the lines part."""
    panel = lines(
        "Do drift and latency go together? p95 by kind of input",
        "95 % of predictions are looked up, scored and recorded within it. Usual: no unusual feature. Unusual: 1 or 2."
        " Strange: 3 or more. Lines that rise together mean that drift is not the cause.",
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
    """Which features, and since when."""
    return timeline(
        "Drift per feature",
        "Each feature's distance from the reference in multiples of its own threshold. Green: chance. Yellow: from 0.8."
        " Orange: drifted. Red: three times beyond, or missing altogether. A gap: the worker could not see."
        " A click opens the report of that moment.",
        features.COLOURS,
        Query(features.by_feature(), legend(names.FEATURE_NAME)),
        unit=TIMES,
        absent="no drift run within three intervals",
        links=[links.TO_REPORT, links.TO_DRIFT],
    ).decimals(2)


def firing() -> statetimeline.Panel:
    """What fires, and since when, under the same crosshair."""
    return timeline(
        "What fires",
        "Yellow: pending. Orange: a ticket. Red: page somebody. A click leads to what the alert means.",
        states.steps(states.ALERTS),
        Query(states.quiet(), "all quiet"),
        Query(states.alerts(), "{{alertname}}"),
        states=states.ALERTS,
        absent="all quiet",
        links=[links.TO_ALERTS, links.TO_PIPELINE],
    )
