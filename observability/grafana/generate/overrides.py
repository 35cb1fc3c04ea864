"""How one series of a panel differs from the others: its colour, its line, its axis."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate.states import BLUE


def tint(colour: str) -> models.DynamicConfigValue:
    """Gives a series a colour of its own, for an override."""
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def quantiles(panel: timeseries.Panel) -> timeseries.Panel:
    """p50, p95 and p99 have the same colours on every board."""
    for name, colour in (("p50", BLUE), ("p95", "#f2cc0c"), ("p99", "#ff780a")):
        panel.override_by_name(name, [tint(colour)])
    return panel


def dashed() -> models.DynamicConfigValue:
    """Draws a series as a dashed line, for an override: what is a bound and not a measurement."""
    return models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})


def right_axis(unit: str, label: str, *, soft_max: float) -> list[models.DynamicConfigValue]:
    """Measures a series on an axis of its own, from zero, for an override; the left axis' limits are not its."""
    return [
        models.DynamicConfigValue("unit", unit),
        models.DynamicConfigValue("min", 0),
        models.DynamicConfigValue("custom.axisPlacement", choices.AxisPlacement.RIGHT.value),
        models.DynamicConfigValue("custom.axisLabel", label),
        models.DynamicConfigValue("custom.axisSoftMax", soft_max),
        models.DynamicConfigValue("custom.thresholdsStyle", {"mode": choices.GraphThresholdsStyleMode.OFF.value}),
    ]


def stepped() -> list[models.DynamicConfigValue]:
    """Draws a thick line that stands until the next run, for an override."""
    return [
        models.DynamicConfigValue("custom.lineInterpolation", choices.LineInterpolation.STEP_AFTER.value),
        models.DynamicConfigValue("custom.lineWidth", 3),
    ]
