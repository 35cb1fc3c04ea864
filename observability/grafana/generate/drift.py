"""The Drift dashboard: what drifted, how far, since when, and the worker's verdicts."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, performance, runs, saturation, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.panels import (
    COUNT,
    DISTANCE,
    SECONDS,
    SHARE,
    TIMES,
    Query,
    bars,
    dashed,
    heat_map,
    lines,
    listed,
    state_now,
    stats,
    stepped,
    timeline,
    tint,
)
from observability.grafana.generate.queries import (
    OF_MODEL,
    Match,
    Recorded,
    heat,
    largest,
    legend,
    series,
    total,
)

NO_RUN = "no drift run in the last three intervals"
CURRENT, REFERENCE = Match(names.DRIFT_WINDOW_ROLE, "current"), Match(names.DRIFT_WINDOW_ROLE, "reference")
VERDICTS, RECOMMENDATIONS = states.calm(states.VERDICTS), states.calm(states.RECOMMENDATIONS)


def drift() -> models.Dashboard:
    """The dashboard of the drift worker."""
    return board(
        links.DRIFT,
        "Drift",
        "Features, scores and labels compared with the reference, and the verdicts of the drift worker.",
        [
            Row(4, [(4, now()), (4, detected()), (4, share()), (4, subjects()), (4, success()), (4, cycle())]),
            Row(7, [(12, verdicts()), (12, share_over_time())]),
            Row(10, [(9, ratios()), (15, ratios_over_time())], "Features"),
            Row(8, [(12, score_distance()), (12, score_heat())], "Predictions"),
            Row(8, [(8, performance.roc_auc()), (8, performance.brier()), (8, performance.labels())], "Performance"),
            Row(8, [(12, runs.by_recommendation()), (12, runs.duration())], "Drift worker"),
            Row(7, [(9, runs.stages()), (5, window_sizes()), (5, saturation.cpu(links.WORKER)), (5, memory())]),
        ],
    )


def memory() -> timeseries.Panel:
    """Memory of the worker, which loads whole windows."""
    return saturation.memory(links.WORKER)


def now() -> stat.Panel:
    """The current recommendation."""
    return state_now(
        "Recommendation",
        "INVESTIGATE: the quality verdict is act, one feature is far beyond its threshold, or the drift share is over"
        " its threshold but not yet confirmed. RETRAIN: the performance verdict is act, or the share was over its"
        " threshold in several windows in a row.",
        states.RECOMMENDATIONS,
        Query(states.recommendation(), "recommendation"),
        links=[links.TO_LAST_REPORT],
    )


def detected() -> stat.Panel:
    """Number of drifted features."""
    return stats(
        "Drifted features",
        "Features whose distance is at or over the effective threshold for this window size.",
        COUNT,
        Query(total(series(names.DRIFT_FEATURE_DETECTED))),
        absent="unknown",
        colours=states.thresholds((None, states.GREEN), (1, states.YELLOW)),
        links=[links.TO_LAST_REPORT],
    ).decimals(0)


def share() -> stat.Panel:
    """The drift share."""
    return stats(
        "Drift share",
        f"Drifted features ÷ compared features. Red from the default threshold of {limits.DRIFT_SHARE:.0%}.",
        SHARE,
        Query(largest(series(names.DRIFT_SHARE, OF_MODEL))),
        absent="unknown",
        colours=limits.SHARE_OF_DRIFT,
        links=[links.TO_LAST_REPORT],
    ).decimals(0)


def subjects() -> stat.Panel:
    """Subjects in the window."""
    return stats(
        "Subjects in the window",
        "Customers, each counted once, plus requests without a user_id. With fewer subjects, only larger shifts are"
        " detected.",
        COUNT,
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, CURRENT))),
        absent="unknown",
    )


def success() -> stat.Panel:
    """Time since the last successful run."""
    return stats(
        "Last successful run",
        "Time since the last successful run. It also grows with little traffic, which is no failure. Unknown: no"
        " worker.",
        SECONDS,
        Query(Recorded.LAST_RUN_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS],
    ).decimals(0)


def cycle() -> stat.Panel:
    """Time since the last finished run."""
    return stats(
        "Last finished run",
        "Time since the last finished run, including UNKNOWN. If it grows, the worker is down or hangs.",
        SECONDS,
        Query(Recorded.LAST_CYCLE_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS],
    ).decimals(0)


def verdicts() -> statetimeline.Panel:
    """Verdicts and recommendation over time."""
    return timeline(
        "Verdicts and recommendation",
        "Green: ok or NO_ACTION. Yellow: watch. Orange: INVESTIGATE. Red: act or RETRAIN. Grey: unknown. Click to open"
        " the report at that time, with the evidence.",
        states.steps(VERDICTS),
        *(Query(states.verdict(question), question) for question in states.QUESTIONS),
        Query(states.recommendation(), "recommendation"),
        states=VERDICTS,
        links=[links.TO_REPORT, links.TO_RUNS],
    ).override_by_name(
        "recommendation",
        [
            models.DynamicConfigValue("mappings", states.mapping(RECOMMENDATIONS)),
            models.DynamicConfigValue("thresholds", states.steps(RECOMMENDATIONS).build()),
        ],
    )


def share_over_time() -> timeseries.Panel:
    """The drift share and its threshold."""
    return (
        lines(
            "Drift share and threshold",
            "Retraining is recommended after several windows in a row, without overlap, at or over the threshold.",
            SHARE,
            Query(largest(series(names.DRIFT_SHARE, OF_MODEL), names.MODEL_VERSION), legend(names.MODEL_VERSION)),
            Query(largest(series(names.DRIFT_THRESHOLD)), "threshold"),
            absent=NO_RUN,
            links=[links.TO_REPORT],
        )
        .override_by_regexp(".*", stepped())
        .override_by_name("threshold", [tint(states.RED), dashed()])
    )


def ratios() -> bargauge.Panel:
    """Features by distance."""
    return bars(
        "Distance ÷ effective threshold, last run",
        "Each feature's distance from the reference, in multiples of its effective threshold. From 1 it has drifted;"
        " from 3 one feature alone leads to INVESTIGATE.",
        TIMES,
        Query(f"sort_desc({features.by_feature()})", legend(names.FEATURE_NAME)),
        colours=features.COLOURS_BRIGHT,
        links=[links.TO_LAST_REPORT],
    ).decimals(2)


def ratios_over_time() -> timeseries.Panel:
    """Distances over time."""
    return listed(
        lines(
            "Distance ÷ effective threshold, over time",
            "If all features move at once, an upstream system changed. If one moves alone, look at that feature's"
            " source.",
            TIMES,
            Query(features.by_feature(), legend(names.FEATURE_NAME)),
            limit=features.LINES,
            absent=NO_RUN,
            links=[links.TO_REPORT],
        )
    ).decimals(2)


def score_distance() -> timeseries.Panel:
    """Prediction drift, computed in two independent ways."""
    return (
        lines(
            "Prediction drift: worker and Prometheus",
            "The scores' distance from the reference (normed Wasserstein). The worker counts each customer of its"
            " window once. Prometheus counts all scores of five minutes in steps of 0.05, also without the worker."
            " Both lines should be close to each other.",
            DISTANCE,
            Query(largest(series(names.DRIFT_PREDICTION_SCORE)), "worker"),
            Query(largest(f"{Recorded.SCORE_DISTANCE}{{{OF_MODEL}}}"), "Prometheus"),
            limit=limits.DISTANCE_LINE,
            absent="too few predictions to compare",
            links=[links.TO_REPORT],
        )
        .override_by_name("worker", [*stepped(), tint(states.PURPLE)])
        .override_by_name("Prometheus", [tint(states.BLUE)])
        .decimals(3)
    )


def score_heat() -> heatmap.Panel:
    """The distribution of scores over time."""
    return heat_map(
        "Scores (click a dot for its trace)",
        "Distribution of predicted probabilities. A band that moves is prediction drift.",
        COUNT,
        Query(heat(names.PREDICTION_SCORES, OF_MODEL), legend(names.BUCKET_BOUND), exemplars=True),
        axis="probability up to",
        absent="no traffic",
    )


def window_sizes() -> timeseries.Panel:
    """Size of the windows."""
    return lines(
        "Window",
        "Rows and subjects of the last compared window. Far fewer subjects than rows: a few customers send many"
        " requests, and each counts once.",
        COUNT,
        Query(largest(series(names.DRIFT_WINDOW_ROWS, CURRENT)), "rows"),
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, CURRENT)), "subjects"),
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, REFERENCE)), "reference"),
        absent=NO_RUN,
    ).decimals(0)
