"""Our kinds of panels, each with a unit, a description, a legend and a text for absent data."""

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
from grafana_foundation_sdk.models import statetimeline as timeline_choices
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observability.grafana.generate.queries import STEP, WINDOW, or_nan
from observability.grafana.generate.states import GREEN, States, mapping, steps, thresholds, unknown

DATA_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${prometheus}")
"""The data source that the dashboard's variable names, so that the files work in any Grafana."""
SHARE, COUNT, BYTES = units.PercentUnit, units.Short, units.BytesIEC
SECONDS, MILLISECONDS = units.Seconds, units.Milliseconds
REQUESTS, WRITES = units.RequestsPerSecond, units.WritesPerSecond
STATE = DISTANCE = units.NoUnit
TIMES, SPANS, ITEMS = "suffix:×", "suffix:spans/s", "suffix:items/s"
ABSENT: Final = "no data"
SMALLEST_SHARE: Final = 0.01
"""Up to here the axis of a share always reaches: if all values are 0, Grafana would draw it up to 10000 %."""
EXEMPLARS: Final = "rgba(120,220,255,0.35)"
"""Translucent, so that many exemplars do not hide a heat map's cells."""
Links = Sequence[builders.DashboardLink]


@dataclass(frozen=True)
class Query:
    """A query with its legend; `exemplars` also queries exemplars, `trend` the values before the current one."""

    expression: str
    legend: str = "__auto"
    exemplars: bool = False
    trend: bool = False


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
        .mappings([unknown(absent)])
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
        .mappings([*mapping(states), unknown(ABSENT)])
        .color_mode(choices.BigValueColorMode.BACKGROUND_SOLID)
        .text(common.VizTextDisplayOptions().value_size(20))
    )


@dataclass(frozen=True)
class Figure:
    """One value of a strip: its name, its text if it is absent, and its own unit and colours.

    `expression` must have at most one series, without labels. `trend` draws a line behind the value: how it got there.
    """

    name: str
    expression: str
    unit: str
    absent: str
    colours: builders.ThresholdsConfig | None = None
    decimals: float | None = None
    pattern: str | None = None
    states: States | None = None
    trend: bool = False


def strip(title: str, description: str, *figures: Figure, links: Links = ()) -> stat.Panel:
    """Named current values side by side; one that is absent keeps its place, with a grey text.

    The value of a trend is its last point, and not the last that is not null: an absent one is NaN there, so a trend
    never shows an outdated value.
    """
    queries = (Query(or_nan(each.expression), each.name, trend=each.trend) for each in figures)
    panel = stats(title, description, COUNT, *queries, links=links).text(
        common.VizTextDisplayOptions().value_size(22).title_size(12)
    )
    if any(each.trend for each in figures):
        panel.graph_mode(choices.BigValueGraphMode.AREA).reduce_options(common.ReduceDataOptions().calcs(["last"]))
    for each in figures:
        own = [
            models.DynamicConfigValue("unit", each.unit),
            models.DynamicConfigValue("noValue", each.absent),
            models.DynamicConfigValue("mappings", [*mapping(each.states or {}), unknown(each.absent)]),
            models.DynamicConfigValue("thresholds", (each.colours or thresholds((None, "text"))).build()),
        ]
        if each.decimals is not None:
            own.append(models.DynamicConfigValue("decimals", each.decimals))
        if each.pattern is None:
            panel.override_by_name(each.name, own)
        else:
            panel.override_by_regexp(each.pattern, own)
    return panel


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limit: builders.ThresholdsConfig | None = None,
    floor: float | None = 0,
    soft_max: float | None = None,
    absent: str = ABSENT,
    links: Links = (),
) -> timeseries.Panel:
    """Lines over time; `limit` draws dashed lines at its thresholds, `floor` is the start of the axis.

    The axis reaches at least up to `soft_max`.
    """
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
        .legend(_legend().calcs(["lastNotNull"]))
        .tooltip(_tooltip())
        .data_links(list(links))
    )
    if soft_max is not None or unit == SHARE:
        panel.axis_soft_max(SMALLEST_SHARE if soft_max is None else soft_max)
    return panel if floor is None else panel.min(floor)


def listed(panel: timeseries.Panel) -> timeseries.Panel:
    """Many lines: the legend is a table at the right, sorted by value."""
    table = _legend().display_mode(choices.LegendDisplayMode.TABLE).placement(choices.LegendPlacement.RIGHT)
    return panel.legend(table.calcs(["lastNotNull"]).sort_by("Last *").sort_desc(True))


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts that add up to a whole."""
    return panel.stacking(common.StackingConfig().mode(choices.StackingMode.NORMAL)).fill_opacity(25).line_width(1)


def of_the_whole(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts as shares of their sum: the axis goes from 0 to 100 %."""
    return stacked(panel).stacking(common.StackingConfig().mode(choices.StackingMode.PERCENT)).fill_opacity(45)


def bars_over_time(panel: timeseries.Panel) -> timeseries.Panel:
    """Events per step of time, stacked."""
    return stacked(panel).draw_style(choices.GraphDrawStyle.BARS).fill_opacity(70)


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    colours: builders.ThresholdsConfig,
    absent: str = ABSENT,
    links: Links = (),
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
        .no_value(absent)
        .mappings([unknown(absent)])
        .thresholds(colours)
        .display_mode(choices.BarGaugeDisplayMode.BASIC)
        .orientation(choices.VizOrientation.HORIZONTAL)
        .name_placement(choices.BarGaugeNamePlacement.LEFT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .show_unfilled(True)
        .data_links(list(links))
    )


class _WithoutPager(statetimeline.Panel):
    """A state timeline on one page: the SDK can only leave the option out, and Grafana then adds a pager."""

    def build(self) -> models.Panel:
        built = super().build()
        assert isinstance(built.options, timeline_choices.Options)  # noqa: S101 (what the builder made)
        built.options.per_page = 0
        return built


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
    """One row per series, coloured by state; gaps where data is absent.

    Values are not merged, so that a click yields its own time and not the start of its state. With a mapping, the
    tooltip shows a state's text only in a palette's mode; by thresholds it would show the threshold.
    """
    scheme = models.FieldColorModeId.PALETTE_CLASSIC if states else models.FieldColorModeId.THRESHOLDS
    return (
        _WithoutPager()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .targets(_targets(queries))
        .no_value(absent)
        .mappings(mapping(states) if states else [])
        .thresholds(colours)
        .color_scheme(builders.FieldColor().mode(scheme))
        .merge_values(False)
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
    layout: choices.HeatmapCellLayout = choices.HeatmapCellLayout.LE,
    absent: str = ABSENT,
    links: Links = (),
) -> heatmap.Panel:
    """A histogram over time: stronger means more; dots are exemplars that link to their traces.

    The unit is that of the axis; cells count events.
    """
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
        .targets([_target(query, "A").format(PromQueryFormat.HEATMAP).range()])
        .no_value(absent)
        .calculate(False)
        .rows_frame(heatmap.RowsHeatmapOptions().layout(layout))
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_label(axis))
        .color(colour)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .cell_values(heatmap.CellValues().unit(COUNT).decimals(0))
        .exemplars_color(EXEMPLARS)
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
    targets = [(query, _target(query, chr(ord("A") + place))) for place, query in enumerate(queries)]
    return [target.instant() if instant and not query.trend else target.range() for query, target in targets]


def _target(query: Query, reference: str) -> prometheus.Dataquery:
    asked = (
        prometheus.Dataquery()
        .ref_id(reference)
        .datasource(DATA_SOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
        .exemplar(query.exemplars)
    )
    return asked.interval(STEP) if WINDOW in query.expression else asked
