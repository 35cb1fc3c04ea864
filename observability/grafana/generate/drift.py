"""Drift: what moved, by how much against what chance allows, since when, and what the worker makes of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import features, limits, links, performance, runs, saturation, states
from observability.grafana.generate.board import Row, board
from observability.grafana.generate.overrides import dashed, stepped, tint
from observability.grafana.generate.panels import (
    COUNT,
    DISTANCE,
    SECONDS,
    SHARE,
    TIMES,
    Query,
    bars,
    heat_map,
    lines,
    listed,
    state_now,
    stats,
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

NO_RUN = "no drift run within three intervals"
CURRENT, REFERENCE = Match(names.DRIFT_WINDOW_ROLE, "current"), Match(names.DRIFT_WINDOW_ROLE, "reference")
VERDICTS, RECOMMENDATIONS = states.calm(states.VERDICTS), states.calm(states.RECOMMENDATIONS)


def drift() -> models.Dashboard:
    """The board of the drift worker."""
    return board(
        links.DRIFT,
        "Drift",
        "What the worker compares and finds: features, scores and labels against the reference, and how sure it is.",
        [
            Row(4, [(4, now()), (4, detected()), (4, share()), (4, subjects()), (4, success()), (4, cycle())]),
            Row(7, [(12, verdicts()), (12, share_over_time())]),
            Row(10, [(9, ratios()), (15, ratios_over_time())], "Features"),
            Row(8, [(12, score_distance()), (12, score_heat())], "Predictions"),
            Row(8, [(8, performance.roc_auc()), (8, performance.brier()), (8, performance.labels())], "Performance"),
            Row(8, [(12, runs.by_recommendation()), (12, runs.duration())], "The worker"),
            Row(7, [(9, runs.stages()), (5, window_sizes()), (5, saturation.cpu(links.WORKER)), (5, memory())]),
        ],
    )


def memory() -> timeseries.Panel:
    """The worker holds whole windows."""
    return saturation.memory(links.WORKER)


def now() -> stat.Panel:
    """What is asked for."""
    return state_now(
        "Recommendation",
        "INVESTIGATE: quality acts, one feature is far beyond its threshold, or the share is over and unconfirmed."
        " RETRAIN: performance acts, or the share was over in several windows in a row.",
        states.RECOMMENDATIONS,
        Query(states.recommendation(), "recommendation"),
        links=[links.TO_LAST_REPORT],
    )


def detected() -> stat.Panel:
    """How many of how many."""
    return stats(
        "Features drifted",
        "Features whose distance is beyond what chance explains at this size of window.",
        COUNT,
        Query(total(series(names.DRIFT_FEATURE_DETECTED))),
        absent="unknown",
        colours=states.thresholds((None, states.GREEN), (1, states.YELLOW)),
        links=[links.TO_LAST_REPORT],
    ).decimals(0)


def share() -> stat.Panel:
    """The share itself."""
    return stats(
        "Drift share",
        f"Drifted features ÷ features compared. Red from the default threshold of {limits.DRIFT_SHARE:.0%}.",
        SHARE,
        Query(largest(series(names.DRIFT_SHARE, OF_MODEL))),
        absent="unknown",
        colours=limits.SHARE_OF_DRIFT,
        links=[links.TO_LAST_REPORT],
    ).decimals(0)


def subjects() -> stat.Panel:
    """How much it saw."""
    return stats(
        "Subjects in the window",
        "Customers, each once, and requests without a customer. The fewer, the larger a shift must be to be seen.",
        COUNT,
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, CURRENT))),
        absent="unknown",
    )


def success() -> stat.Panel:
    """When it last saw."""
    return stats(
        "Last run that could see",
        "Time since. It grows on a quiet night too, and that is no fault. Unknown: no worker reports.",
        SECONDS,
        Query(Recorded.LAST_RUN_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS],
    ).decimals(0)


def cycle() -> stat.Panel:
    """When it last tried."""
    return stats(
        "Last finished cycle",
        "Time since the worker last finished a cycle, whatever it saw. If this grows, the worker is gone or stuck.",
        SECONDS,
        Query(Recorded.LAST_CYCLE_AGE),
        absent="unknown",
        colours=limits.AGE,
        links=[links.TO_RUNS],
    ).decimals(0)


def verdicts() -> statetimeline.Panel:
    """The four answers over time."""
    return timeline(
        "Verdicts and recommendation",
        "Green: ok, or NO_ACTION. Yellow: watch. Orange: INVESTIGATE. Red: act, or RETRAIN. Grey: unknown. A click"
        " opens the report of that moment, with the evidence in a sentence.",
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
    """The plain rule."""
    return (
        lines(
            "Drift share against its threshold",
            "One window over the threshold is not yet a reason to retrain: several in a row that do not overlap are.",
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
    """Which features, the worst on top."""
    return bars(
        "Distance ÷ effective threshold, last run",
        "How far each feature is from the reference, in multiples of what chance explains at this size of window. From"
        " 1 on it has drifted; from 3 on one feature alone is reason to investigate.",
        TIMES,
        Query(f"sort_desc({features.by_feature()})", legend(names.FEATURE_NAME)),
        colours=features.COLOURS_BRIGHT,
        links=[links.TO_LAST_REPORT],
    ).decimals(2)


def ratios_over_time() -> timeseries.Panel:
    """Since when, and does it still grow?"""
    return listed(
        lines(
            "Distance ÷ effective threshold, over time",
            "The same over time. All at once: something upstream changed. One alone: look at that feature's source.",
            TIMES,
            Query(features.by_feature(), legend(names.FEATURE_NAME)),
            limit=features.LINES,
            absent=NO_RUN,
            links=[links.TO_REPORT],
        )
    ).decimals(2)


def score_distance() -> timeseries.Panel:
    """Two who do not know of each other."""
    return (
        lines(
            "Prediction drift, by the worker and by Prometheus alone",
            "The scores' distance from the reference: normed Wasserstein. The worker looks at the customers of its"
            " window, each once, Prometheus at all scores of five minutes in steps of 0.05. They agree within little;"
            " Prometheus goes on when the worker is dead.",
            DISTANCE,
            Query(largest(series(names.DRIFT_PREDICTION_SCORE)), "worker"),
            Query(largest(f"{Recorded.SCORE_DISTANCE}{{{OF_MODEL}}}"), "Prometheus alone"),
            limit=limits.DISTANCE_LINE,
            absent="too few predictions to compare",
            links=[links.TO_REPORT],
        )
        .override_by_name("worker", [*stepped(), tint(states.PURPLE)])
        .override_by_name("Prometheus alone", [tint(states.BLUE)])
        .decimals(3)
    )


def score_heat() -> heatmap.Panel:
    """The scores themselves."""
    return heat_map(
        "Scores: click a dot for its trace",
        "How many predictions had which probability. A band that moves is prediction drift.",
        COUNT,
        Query(heat(names.PREDICTION_SCORES, OF_MODEL), legend(names.BUCKET_BOUND), exemplars=True),
        axis="probability, up to",
        absent="no traffic",
    )


def window_sizes() -> timeseries.Panel:
    """How much there was to compare."""
    return lines(
        "Window",
        "Rows, and subjects among them, of the window that was compared last. Few subjects among many rows: one"
        " customer calls again and again, and counts once.",
        COUNT,
        Query(largest(series(names.DRIFT_WINDOW_ROWS, CURRENT)), "rows"),
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, CURRENT)), "subjects"),
        Query(largest(series(names.DRIFT_WINDOW_SUBJECTS, REFERENCE)), "reference"),
        absent=NO_RUN,
    ).decimals(0)
