"""Overrides of single series: colours, lines, axes, names."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate.states import BLUE


def tint(colour: str) -> models.DynamicConfigValue:
    """The colour of a series."""
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def named(name: str) -> models.DynamicConfigValue:
    """The name that is shown."""
    return models.DynamicConfigValue("displayName", name)


def dashed() -> models.DynamicConfigValue:
    """A dashed line, for limits as opposed to measurements."""
    return models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})


def stepped() -> list[models.DynamicConfigValue]:
    """A thick line that keeps its value until the next run."""
    return [
        models.DynamicConfigValue("custom.lineInterpolation", choices.LineInterpolation.STEP_AFTER.value),
        models.DynamicConfigValue("custom.lineWidth", 3),
    ]


def right_axis(unit: str, label: str, *, soft_max: float) -> list[models.DynamicConfigValue]:
    """A second axis at the right, from zero, without the left axis' thresholds."""
    return [
        models.DynamicConfigValue("unit", unit),
        models.DynamicConfigValue("min", 0),
        models.DynamicConfigValue("custom.axisPlacement", choices.AxisPlacement.RIGHT.value),
        models.DynamicConfigValue("custom.axisLabel", label),
        models.DynamicConfigValue("custom.axisSoftMax", soft_max),
        models.DynamicConfigValue("custom.thresholdsStyle", {"mode": choices.GraphThresholdsStyleMode.OFF.value}),
    ]


def quantiles(panel: timeseries.Panel) -> timeseries.Panel:
    """The colours of p50, p95 and p99, the same on all dashboards."""
    for name, colour in (("p50", BLUE), ("p95", "#f2cc0c"), ("p99", "#ff780a")):
        panel.override_by_name(name, [tint(colour)])
    return panel
