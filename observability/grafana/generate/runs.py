"""Drift runs: number, duration and stages."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import links, states
from observability.grafana.generate.foreign import SPAN_DURATION, SPAN_NAME, of_spans
from observability.grafana.generate.overrides import dashed, tint
from observability.grafana.generate.panels import (
    COUNT,
    MILLISECONDS,
    SECONDS,
    Query,
    bars_over_time,
    lines,
)
from observability.grafana.generate.queries import (
    RUNS,
    SCRAPES,
    increase,
    largest,
    legend,
    quantile,
    rate,
    series,
    total,
)

STAGES = (
    names.SPAN_LOAD_REFERENCE,
    names.SPAN_LOAD_WINDOW,
    names.SPAN_COMPARE,
    names.SPAN_JUDGE,
    names.SPAN_PUBLISH,
)


def by_recommendation() -> timeseries.Panel:
    """Runs by recommendation."""
    counted = total(increase(series(names.DRIFT_RUNS), SCRAPES), names.DRIFT_RECOMMENDATION, names.ERROR_TYPE)
    colours = {text: colour for text, colour in states.RECOMMENDATIONS.values() if text.isupper()}
    panel = bars_over_time(
        lines(
            "Runs by recommendation",
            "Finished runs, with the reason if UNKNOWN: too_few_rows means little traffic, anything else a failure."
            " Dots are exemplars: click one to open the run's trace, which links to the predictions.",
            COUNT,
            Query(f"{counted} > 0", legend(names.DRIFT_RECOMMENDATION, names.ERROR_TYPE, between=" "), exemplars=True),
            absent="no runs in this time range",
            links=[links.TO_RUNS, links.TO_REPORT],
        )
    )
    for recommendation, colour in colours.items():
        panel.override_by_regexp(f"/^{recommendation}/", [tint(colour)])
    return panel.decimals(0).interval("1m")


def duration() -> timeseries.Panel:
    """Duration of runs."""
    return lines(
        "Duration of runs",
        "p50 and p99 over ten minutes. If a run takes longer than the interval, the next one is late. Dots are"
        " exemplars: click one to open the run's trace.",
        SECONDS,
        Query(quantile(0.5, names.DRIFT_RUN_DURATION, over=RUNS), "p50"),
        Query(quantile(0.99, names.DRIFT_RUN_DURATION, over=RUNS), "p99", exemplars=True),
        Query(largest(series(names.DRIFT_INTERVAL)), "interval"),
        links=[links.TO_RUNS],
    ).override_by_name("interval", [tint(states.RED), dashed()])


def stages() -> timeseries.Panel:
    """Duration of the stages."""
    which = of_spans(links.WORKER, STAGES)
    spent = f"sum by ({SPAN_NAME}) ({rate(f'{SPAN_DURATION}_sum{which}', RUNS)})"
    counted = f"sum by ({SPAN_NAME}) ({rate(f'{SPAN_DURATION}_count{which}', RUNS)})"
    return lines(
        "Duration of stages",
        "Mean duration of each stage over ten minutes, from span metrics.",
        MILLISECONDS,
        Query(f"{spent} / {counted}", f"{{{{{SPAN_NAME}}}}}"),
        absent="no spans",
        links=[links.TO_RUNS],
    )
