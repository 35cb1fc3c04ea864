"""Where colours change: at objectives and defaults, which come from the code that defines them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from leeway.model.distances import BASE_THRESHOLD
from leeway.settings import DriftSettings
from observability.grafana.generate.states import GREEN, ORANGE, RED, YELLOW, thresholds

OBJECTIVE_S: Final = 0.05
"""99 % of single predictions must be answered within this time."""
DRIFT_SHARE: Final = float(DriftSettings.model_fields["drift_threshold"].default)
DRIFT_INTERVAL_S: Final = float(DriftSettings.model_fields["drift_interval"].default)
STALE_S: Final = 3 * DRIFT_INTERVAL_S
"""After three intervals without a new result, the worker stops reporting the last one."""
SUSTAINABLE_BURN: Final = 1.0
"""Above this burn rate the budget runs out before its window ends. The rules record the rates that page."""
BATCH_OBJECTIVE_S: Final = 1.0
"""99 % of batches must be answered within this time."""
LEAST_SCORES: Final = 20
"""Shares of predictions are shown from more scores than this: of a handful, they are noise."""


def memory_limit(service: str) -> int:
    """The memory limit of the container in compose.yaml, in bytes."""
    text = str(_SERVICES[service]["mem_limit"])
    return int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]


_SERVICES: Final = yaml.safe_load((Path(__file__).parents[3] / "compose.yaml").read_text(encoding="utf-8"))["services"]

LATENCY = thresholds((None, GREEN), (OBJECTIVE_S / 2, YELLOW), (OBJECTIVE_S, RED))
LATENCY_LINE = thresholds((None, "transparent"), (OBJECTIVE_S, RED))
DISTANCE_LINE = thresholds((None, "transparent"), (BASE_THRESHOLD, RED))
ERRORS = thresholds((None, GREEN), (0.001, ORANGE), (0.01, RED))
SHARE_OF_DRIFT = thresholds((None, GREEN), (DRIFT_SHARE / 2, YELLOW), (DRIFT_SHARE, RED))
AGE = thresholds((None, GREEN), (2 * DRIFT_INTERVAL_S, YELLOW), (STALE_S, RED))
BATCH_LINE = thresholds((None, "transparent"), (BATCH_OBJECTIVE_S, RED))
BURN_LINE = thresholds((None, "transparent"), (SUSTAINABLE_BURN, YELLOW))
WHOLE_LINE = thresholds((None, "transparent"), (1.0, RED))
BUDGET = thresholds((None, RED), (0.0, ORANGE), (0.25, GREEN))
FILL = thresholds((None, GREEN), (0.5, YELLOW), (0.8, RED))
