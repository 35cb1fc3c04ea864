"""Where colours change: at objectives and defaults, which come from the code that defines them."""

from __future__ import annotations

from typing import Final

from leeway.model.distances import BASE_THRESHOLD
from leeway.settings import DriftSettings
from observability.grafana.generate.states import GREEN, ORANGE, RED, YELLOW, thresholds

OBJECTIVE_S: Final = 0.05
"""99 % of single predictions must be answered within this time."""
DRIFT_SHARE: Final = float(DriftSettings.model_fields["drift_threshold"].default)
DRIFT_INTERVAL_S: Final = float(DriftSettings.model_fields["drift_interval"].default)
STALE_S: Final = 3 * DRIFT_INTERVAL_S
"""After three intervals without a new result, the worker stops reporting the last one."""
FAST_BURN, SLOW_BURN = 14.4, 1.0
"""Burn rates: the first, over one hour, pages; above the second, the budget runs out before its window ends."""

LATENCY = thresholds((None, GREEN), (OBJECTIVE_S / 2, YELLOW), (OBJECTIVE_S, RED))
LATENCY_LINE = thresholds((None, "transparent"), (OBJECTIVE_S, RED))
DISTANCE_LINE = thresholds((None, "transparent"), (BASE_THRESHOLD, RED))
ERRORS = thresholds((None, GREEN), (0.001, ORANGE), (0.01, RED))
SHARE_OF_DRIFT = thresholds((None, GREEN), (DRIFT_SHARE / 2, YELLOW), (DRIFT_SHARE, RED))
AGE = thresholds((None, GREEN), (2 * DRIFT_INTERVAL_S, YELLOW), (STALE_S, RED))
BURN_LINES = thresholds((None, "transparent"), (SLOW_BURN, YELLOW), (FAST_BURN, RED))
BUDGET = thresholds((None, RED), (0.0, ORANGE), (0.25, GREEN))
FILL = thresholds((None, GREEN), (0.5, YELLOW), (0.8, RED))
