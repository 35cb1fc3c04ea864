"""The service level objectives: events, bad events and alerts, as PromQL by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leeway.telemetry import names

_REQUESTS: Final = names.HTTP_REQUEST_DURATION.prometheus_name
_ROUTE: Final = names.prometheus_label(names.HTTP_ROUTE)
_STATUS: Final = names.prometheus_label(names.HTTP_STATUS)

PREDICTIONS_COUNT: Final = "leeway:predictions:count"
"""Recorded in recording.yaml: requests by instance, route and status; the series of a 5xx starts at 0."""


@dataclass(frozen=True)
class Objective:
    """At most `1 - target` of `events` may be bad. `events` and `bad` give PromQL for a window.

    `events_name`, `bad_name` and `ratio_name` are names of recorded series, without the window.
    """

    name: str
    target: float
    events: Callable[[str], str]
    bad: Callable[[str], str]
    events_name: str
    bad_name: str
    ratio_name: str
    alert: str
    bad_means: str


def latency_objective(
    name: str, target: float, route: str, bound_s: float, series: str, alert: str, bad_means: str
) -> Objective:
    """The objective that `target` of a route's 2xx responses take at most `bound_s` seconds.

    Raises:
        ValueError: `bound_s` is not a bucket bound, so the ratio could only be interpolated.
    """
    if bound_s not in names.HTTP_REQUEST_DURATION.buckets:
        raise ValueError(f"{name}: {bound_s} s is not a bucket bound of {names.HTTP_REQUEST_DURATION.name}")
    answered = f'{_ROUTE}="{route}", {_STATUS}=~"2.."'
    bucket = str(float(bound_s))  # as Prometheus writes bounds: 0.05, 1.0

    def events(window: str) -> str:
        return f"sum(increase({_REQUESTS}_count{{{answered}}}[{window}]))"

    def slow(window: str) -> str:
        quick = f'sum(increase({_REQUESTS}_bucket{{{answered}, le="{bucket}"}}[{window}]))'
        return f"clamp_min(\n  {events(window)}\n  - {quick},\n  0\n)"

    return Objective(
        name,
        target,
        events,
        slow,
        f"{series}:answered_increase",
        f"{series}:slow_increase",
        f"{series}:slow_ratio_rate",
        alert,
        bad_means,
    )


AVAILABILITY: Final = Objective(
    "availability",
    0.999,
    events=lambda window: f"sum(increase({PREDICTIONS_COUNT}[{window}]))",
    bad=lambda window: f'sum(increase({PREDICTIONS_COUNT}{{{_STATUS}=~"5.."}}[{window}]))',
    events_name="leeway:predictions:increase",
    bad_name="leeway:predictions:errors_increase",
    ratio_name="leeway:predictions:error_ratio_rate",
    alert="PredictionErrorsBurnBudget",
    bad_means="of the prediction requests were answered with a 5xx",
)
LATENCY: Final = latency_objective(
    "latency", 0.99, "/predict", 0.05, "leeway:predictions", "PredictionLatencyBurnsBudget",
    "of the single predictions took longer than 50 ms",
)  # fmt: skip
BATCH_LATENCY: Final = latency_objective(
    "batch_latency", 0.99, "/predict/batch", 1.0, "leeway:batches", "BatchLatencyBurnsBudget",
    "of the batches took longer than 1 s",
)  # fmt: skip
REQUEST_OBJECTIVES: Final = (AVAILABILITY, LATENCY, BATCH_LATENCY)

DRIFT_RUNS: Final = "drift_runs"
DRIFT_RUNS_TARGET: Final = 0.99
DRIFT_HOUR_MISSED: Final = "leeway:drift:hour_missed"
"""1 if the last hour had no successful drift run, else 0."""
