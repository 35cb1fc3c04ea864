"""Each feature's distance from the reference, in multiples of its effective threshold: from 1 it has drifted."""

from __future__ import annotations

from typing import Final

from leeway.telemetry import names
from observability.grafana.generate.queries import largest, series
from observability.grafana.generate.states import CALM, GREEN, ORANGE, RED, YELLOW, thresholds

FAR_BEYOND: Final = 3
"""The multiple from which one feature alone leads to INVESTIGATE; the same as in `drift.verdicts.verdicts`."""
COLOURS = thresholds((None, CALM), (0.8, YELLOW), (1.0, ORANGE), (FAR_BEYOND, RED))
COLOURS_BRIGHT = thresholds((None, GREEN), (0.8, YELLOW), (1.0, ORANGE), (FAR_BEYOND, RED))
LINES = thresholds((None, "transparent"), (1.0, ORANGE), (FAR_BEYOND, RED))


def by_feature() -> str:
    """Score ÷ effective threshold. An entirely missing feature has no score and counts as far beyond its threshold."""
    score = largest(series(names.DRIFT_FEATURE_SCORE), names.FEATURE_NAME)
    threshold = largest(series(names.DRIFT_FEATURE_THRESHOLD), names.FEATURE_NAME)
    detected = largest(series(names.DRIFT_FEATURE_DETECTED), names.FEATURE_NAME)
    return f"{score} / {threshold} or {FAR_BEYOND} * {detected}"
