"""The Drift dashboard: what drifted, how far, since when, and the worker's verdicts."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, performance, runs, saturation, states
from observability.grafana.generate.board import Row, board, reading
from observability.grafana.generate.home import drift_share, last_run, recommendation
from observability.grafana.generate.overrides import dashed, stepped, tint
from observability.grafana.generate.panels import (
    COUNT,
    DISTANCE,
    SECONDS,
    SHARE,
    TIMES,
    Figure,
    Query,
    bars,
    heat_map,
    lines,
    listed,
    strip,
    timeline,
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
NO_SEGMENTS = "the window is not divided: see --by"
CURRENT, REFERENCE = Match(names.DRIFT_WINDOW_ROLE, "current"), Match(names.DRIFT_WINDOW_ROLE, "reference")
VERDICTS, RECOMMENDATIONS = states.calm(states.VERDICTS), states.calm(states.RECOMMENDATIONS)
COMPARED = "compared"
"""A label with the number of compared features."""

HOW_TO_READ = """\
A **distance** is shown in multiples of its effective threshold, which depends on the size of the window: from 1 the
feature has drifted. The four **verdicts** ask different questions, and only *performance* knows whether the model is
still right; it needs labels. A **recommendation** changes after several windows that do not overlap. If the worker is
down, *unusual features* and the line *Prometheus* of prediction drift still show drift.
"""


def drift() -> models.Dashboard:
    """The dashboard of the drift worker."""
    return board(
        links.DRIFT,
        "Drift",
        "Features, scores and labels compared with the reference, and the verdicts of the drift worker.",
        [
            Row(4, [(5, recommendation()), (19, now())]),
            Row(7, [(12, verdicts()), (12, share_over_time())]),
            Row(13, [(9, ratios()), (15, ratios_over_time())], "Features"),
            Row(18, [(9, segments()), (15, segments_over_time())], "Segments of a source", collapsed=True),
            Row(8, [(8, unusual_features()), (8, score_distance()), (8, score_heat())], "Predictions"),
            Row(8, [(8, performance.quality()), (8, performance.errors()), (8, performance.labels())], "Performance"),
            Row(
                8,
                [
                    (6, runs.by_recommendation()),
                    (6, runs.duration()),
                    (6, runs.stages()),
                    (6, window_sizes()),
                ],
                "Drift worker",
            ),
            Row(
                7,
                [(12, saturation.cpu(links.WORKER)), (12, saturation.memory(links.WORKER, "drift"))],
                "Saturation of the drift worker",
                collapsed=True,
            ),
            reading(HOW_TO_READ),
        ],
    )


def now() -> stat.Panel:
    """The last window and its comparison."""
    detected = series(names.DRIFT_FEATURE_DETECTED)
    compared = f'count_values("{COMPARED}", count({detected}))'
    cycle = f"max({Recorded.LAST_CYCLE_AGE})"
    return strip(
        "Now",
        "Drifted: features whose distance is at or over the effective threshold for this window size. Drift share:"
        f" drifted ÷ compared features, red from the default threshold of {limits.DRIFT_SHARE:.0%}. Subjects:"
        " customers in the window, each counted once, plus requests without a user_id; with fewer, only larger shifts"
        " are detected. Last run: time since the last successful run; it also grows with little traffic, which is no"
        " failure. Last cycle: time since the last finished run, including UNKNOWN; if it grows, the worker is down or"
        " hangs.",
        Figure(
            f"drifted of {{{{{COMPARED}}}}}",
            f"{total(detected)} * on () group_right () {compared}",
            COUNT,
            "unknown",
            states.thresholds((None, states.GREEN), (1, states.YELLOW)),
            decimals=0,
            pattern="/^drifted of/",
        ),
        drift_share(),
        Figure("subjects", largest(series(names.DRIFT_WINDOW_SUBJECTS, CURRENT)), COUNT, "unknown", trend=True),
        last_run(),
        Figure("last cycle", cycle, SECONDS, "unknown", limits.AGE, decimals=0),
        links=[links.TO_LAST_REPORT, links.TO_RUNS],
    )


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
        "Distance ÷ threshold, last run",
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
            "Distance ÷ threshold, over time",
            "If all features move at once, an upstream system changed. If one moves alone, look at that feature's"
            " source.",
            TIMES,
            Query(features.by_feature(), legend(names.FEATURE_NAME)),
            limit=features.LINES,
            absent=NO_RUN,
            links=[links.TO_REPORT],
        )
    ).decimals(2)


def segments() -> bargauge.Panel:
    """Segments by drift share."""
    return bars(
        "Drift share by segment, last run",
        "The share of features that drifted among the rows with one value of the column given with --by: the 20 worst"
        f" segments. Red from the default threshold of {limits.DRIFT_SHARE:.0%}. The report has their features, and the"
        " segments with too few subjects.",
        SHARE,
        Query(f"sort_desc({by_segment()})", legend(names.DRIFT_SEGMENT)),
        colours=limits.SHARE_OF_DRIFT,
        absent=NO_SEGMENTS,
        links=[links.TO_LAST_REPORT],
    ).max(1)


def segments_over_time() -> timeseries.Panel:
    """Drift shares of segments over time."""
    return listed(
        lines(
            "Drift share by segment, over time",
            "If one segment moves alone, look at what is particular to it; the verdicts are those of all rows. A line"
            " ends when 20 other segments are worse.",
            SHARE,
            Query(by_segment(), legend(names.DRIFT_SEGMENT)),
            absent=NO_SEGMENTS,
            links=[links.TO_REPORT],
        )
    ).decimals(0)


def by_segment() -> str:
    """The drift share of each segment."""
    return largest(series(names.DRIFT_SEGMENT_SHARE), names.DRIFT_SEGMENT)


def unusual_features() -> heatmap.Panel:
    """Drift per request, within seconds and without the worker."""
    return heat_map(
        "Unusual features per prediction",
        "Features of a prediction that are outside the reference's 0.5-99.5 % range or were never seen. Without drift"
        " almost all predictions are in the lowest rows; strong upper rows are drift. Click a dot for its trace.",
        COUNT,
        Query(heat(names.UNUSUAL_FEATURES, OF_MODEL), legend(names.BUCKET_BOUND), exemplars=True),
        axis="unusual features up to",
        layout=choices.HeatmapCellLayout.UNKNOWN,
        absent="no traffic",
        links=[links.TO_STRANGE],
    )


def score_distance() -> timeseries.Panel:
    """Prediction drift, computed in two independent ways."""
    return (
        lines(
            "Prediction drift, computed twice",
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
        "Scores",
        "Distribution of predicted probabilities. A band that moves is prediction drift. Click a dot for its trace.",
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
