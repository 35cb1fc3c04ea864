"""Our kinds of panels, each with a unit, a description, a legend and a text for absent data; overrides of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_choices
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observability.grafana.generate.states import BLUE, GREEN, States, mapping, steps, thresholds

DATA_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="leeway-prometheus")
SHARE, COUNT, BYTES = units.PercentUnit, units.Short, units.BytesIEC
SECONDS, MILLISECONDS = units.Seconds, units.Milliseconds
REQUESTS, WRITES, EVENTS = units.RequestsPerSecond, units.WritesPerSecond, units.CountsPerSecond
STATE = DISTANCE = units.NoUnit
TIMES: Final = "suffix:×"
ABSENT: Final = "no data"
Links = Sequence[builders.DashboardLink]


@dataclass(frozen=True)
class Query:
    """A query with its legend; `exemplars` also queries exemplars."""

    expression: str
    legend: str = "__auto"
    exemplars: bool = False


def stats(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    absent: str = ABSENT,
    colours: builders.ThresholdsConfig | None = None,
    links: Links = (),
) -> stat.Panel:
    """Current values. The queries are instant: a value that is no longer reported disappears."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .targets(_targets(queries, instant=True))
        .no_value(absent)
        .thresholds(colours or thresholds((None, "text")))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(choices.BigValueColorMode.VALUE)
        .graph_mode(choices.BigValueGraphMode.NONE)
        .text_mode(choices.BigValueTextMode.AUTO)
        .data_links(list(links))
    )


def state_now(title: str, description: str, states: States, *queries: Query, links: Links = ()) -> stat.Panel:
    """Current states as texts and colours."""
    return (
        stats(title, description, STATE, *queries, colours=steps(states), links=links)
        .mappings(mapping(states))
        .color_mode(
            choices.BigValueColorMode.BACKGROUND_SOLID if len(queries) == 1 else choices.BigValueColorMode.VALUE
        )
        .text(common.VizTextDisplayOptions().value_size(20))
    )


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limit: builders.ThresholdsConfig | None = None,
    floor: float | None = 0,
    absent: str = ABSENT,
    links: Links = (),
) -> timeseries.Panel:
    """Lines over time; `limit` draws dashed lines at its thresholds, `floor` is the start of the axis."""
    dashes = choices.GraphThresholdsStyleMode.DASHED if limit else choices.GraphThresholdsStyleMode.OFF
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .targets(_targets(queries))
        .no_value(absent)
        .line_width(1.5)
        .fill_opacity(0)
        .show_points(choices.VisibilityMode.AUTO)
        .thresholds(limit or thresholds((None, GREEN)))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(dashes))
        .legend(_legend().calcs(["lastNotNull", "max"]))
        .tooltip(_tooltip())
        .data_links(list(links))
    )
    return panel if floor is None else panel.min(floor)


def listed(panel: timeseries.Panel) -> timeseries.Panel:
    """Many lines: the legend is a table at the right, sorted by value."""
    table = _legend().display_mode(choices.LegendDisplayMode.TABLE).placement(choices.LegendPlacement.RIGHT)
    return panel.legend(table.calcs(["lastNotNull"]).sort_by("Last *").sort_desc(True))


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts that add up to a whole."""
    return panel.stacking(common.StackingConfig().mode(choices.StackingMode.NORMAL)).fill_opacity(25).line_width(1)


def bars_over_time(panel: timeseries.Panel) -> timeseries.Panel:
    """Events per step of time, stacked."""
    return stacked(panel).draw_style(choices.GraphDrawStyle.BARS).fill_opacity(70)


def bars(
    title: str, description: str, unit: str, *queries: Query, colours: builders.ThresholdsConfig, links: Links = ()
) -> bargauge.Panel:
    """Current values as bars."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .min(0)
        .targets(_targets(queries, instant=True))
        .no_value(ABSENT)
        .thresholds(colours)
        .display_mode(choices.BarGaugeDisplayMode.BASIC)
        .orientation(choices.VizOrientation.HORIZONTAL)
        .name_placement(choices.BarGaugeNamePlacement.LEFT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .show_unfilled(True)
        .data_links(list(links))
    )


def timeline(
    title: str,
    description: str,
    colours: builders.ThresholdsConfig,
    *queries: Query,
    unit: str = STATE,
    states: States | None = None,
    absent: str = ABSENT,
    links: Links = (),
) -> statetimeline.Panel:
    """One row per series, coloured by state; gaps where data is absent."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .targets(_targets(queries))
        .no_value(absent)
        .mappings(mapping(states) if states else [])
        .thresholds(colours)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(choices.VisibilityMode.NEVER)
        .row_height(0.85)
        .fill_opacity(75)
        .legend(_legend().show_legend(False))
        .tooltip(_tooltip())
        .data_links(list(links))
    )


def heat_map(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    axis: str,
    absent: str = ABSENT,
    links: Links = (),
) -> heatmap.Panel:
    """A histogram over time: brighter means more; dots are exemplars that link to their traces."""
    colour = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_choices.HeatmapColorMode.SCHEME)
        .scheme("Inferno")
        .scale(heatmap_choices.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.4)
        .steps(64)
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .targets([_target(query, "A").format(PromQueryFormat.HEATMAP).range()])
        .no_value(absent)
        .calculate(False)
        .rows_frame(heatmap.RowsHeatmapOptions().layout(choices.HeatmapCellLayout.LE))
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_label(axis))
        .color(colour)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .exemplars_color("rgba(120,220,255,0.9)")
        .tooltip(heatmap.HeatmapTooltip().mode(choices.TooltipDisplayMode.SINGLE).y_histogram(True))
        .data_links(list(links))
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(choices.LegendDisplayMode.LIST)
        .placement(choices.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(choices.TooltipDisplayMode.MULTI).sort(choices.SortOrder.DESCENDING)


def _targets(queries: Sequence[Query], *, instant: bool = False) -> list[Builder[Dataquery]]:
    return [
        _target(query, chr(ord("A") + place)).instant() if instant else _target(query, chr(ord("A") + place)).range()
        for place, query in enumerate(queries)
    ]


def _target(query: Query, reference: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(reference)
        .datasource(DATA_SOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
        .exemplar(query.exemplars)
    )


def tint(colour: str) -> models.DynamicConfigValue:
    """An override: the colour of a series."""
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def quantiles(panel: timeseries.Panel) -> timeseries.Panel:
    """The colours of p50, p95 and p99, the same on all dashboards."""
    for name, colour in (("p50", BLUE), ("p95", "#f2cc0c"), ("p99", "#ff780a")):
        panel.override_by_name(name, [tint(colour)])
    return panel


def dashed() -> models.DynamicConfigValue:
    """An override: a dashed line, for limits as opposed to measurements."""
    return models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})


def right_axis(unit: str, label: str, *, soft_max: float) -> list[models.DynamicConfigValue]:
    """An override: a second axis at the right, from zero, without the left axis' thresholds."""
    return [
        models.DynamicConfigValue("unit", unit),
        models.DynamicConfigValue("min", 0),
        models.DynamicConfigValue("custom.axisPlacement", choices.AxisPlacement.RIGHT.value),
        models.DynamicConfigValue("custom.axisLabel", label),
        models.DynamicConfigValue("custom.axisSoftMax", soft_max),
        models.DynamicConfigValue("custom.thresholdsStyle", {"mode": choices.GraphThresholdsStyleMode.OFF.value}),
    ]


def stepped() -> list[models.DynamicConfigValue]:
    """An override: a thick line that keeps its value until the next run."""
    return [
        models.DynamicConfigValue("custom.lineInterpolation", choices.LineInterpolation.STEP_AFTER.value),
        models.DynamicConfigValue("custom.lineWidth", 3),
    ]
