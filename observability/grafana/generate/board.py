"""What all dashboards share: variables, annotations, links, time range and refresh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.builders import text as texts
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.text import TextMode

from leeway.telemetry import names
from observability.grafana.generate.links import TAG, header
from observability.grafana.generate.panels import DATA_SOURCE
from observability.grafana.generate.queries import largest, legend, series

AUTO: Final = "$__rate_interval"
WINDOWS: Final = {"auto": AUTO, "1m": "1m", "5m": "5m", "15m": "15m", "1h": "1h"}
"""Ranges of rates and quantiles. `auto` is a minute and grows with the time range, so that no spike is skipped."""
REFRESH: Final = "30s"
"""A refresh closes the popover of a clicked exemplar: more often would make it hard to follow its link."""
GRID_COLUMNS: Final = 24
REPORTS_URL: Final = "http://127.0.0.1:8001"
"""Where compose.yaml publishes the reports; a variable of the dashboards."""
Panel = Builder[models.Panel]


@dataclass(frozen=True)
class Row:
    """Panels of the same height side by side, each with its width of 24 columns, and an optional heading.

    A `collapsed` row shows its heading only, until it is opened; it needs one.
    """

    height: int
    panels: Sequence[tuple[int, Panel]]
    title: str | None = None
    collapsed: bool = False


def board(uid: str, title: str, description: str, rows: Iterable[Row]) -> models.Dashboard:
    """A dashboard with its panels in rows, from top to bottom."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-30m", "now")
        .timezone("browser")
        .refresh(REFRESH)
        .timepicker(builders.TimePicker().refresh_intervals(["5s", REFRESH, "1m", "5m"]))
        .links(header())
        .variables([_model(), _instance(), _window(), *_sources(), _reports()])
        .annotations([_recommendations(), _versions(), _faults()])
        .build()
    )
    made.panels = list(_placed(rows))
    return made


def reading(text: str) -> Row:
    """The last row: in a few sentences, how to read the dashboard."""
    return Row(4, [(GRID_COLUMNS, explanation("How to read this dashboard", text))])


def explanation(title: str, markdown: str) -> texts.Panel:
    """A text."""
    return texts.Panel().title(title).mode(TextMode.MARKDOWN).content(markdown)


def _placed(rows: Iterable[Row]) -> Iterator[models.Panel | models.RowPanel]:
    """The panels with their positions and ids; those of a collapsed row are inside of it and take no space."""
    top, number = 0, count(1)
    for row in rows:
        heading = None
        if row.title is not None:
            heading = builders.Row(row.title).id(next(number)).collapsed(row.collapsed).build()
            heading.grid_pos = models.GridPos(h=1, w=GRID_COLUMNS, x=0, y=top)
            top += 1
        panels = _side_by_side(row, top, number)
        if heading is not None:
            heading.panels = panels if row.collapsed else []
            yield heading
        if not row.collapsed:
            yield from panels
            top += row.height


def _side_by_side(row: Row, top: int, number: Iterator[int]) -> list[models.Panel]:
    made, left = [], 0
    for width, panel in row.panels:
        built = panel.build()
        built.id_val = next(number)
        built.grid_pos = models.GridPos(h=row.height, w=width, x=left, y=top)
        made.append(built)
        left += width
    return made


def _model() -> builders.QueryVariable:
    labels = _labels(names.SCORE_REFERENCE, names.prometheus_label(names.MODEL_VERSION))
    return (
        _selected("model", labels)
        .label("Model version")
        .description("Model versions in this time range")
        .sort(models.VariableSort.ALPHABETICAL_DESC)
    )


def _instance() -> builders.QueryVariable:
    """The instances of the service, by a counter that each of them exports from its start."""
    labels = _labels(names.LOG_SPOOLED, "instance")
    return _selected("instance", labels).label("Instance").description("Instances of the service in this time range")


def _labels(metric: names.Metric, label: str) -> str:
    return f"label_values({metric.prometheus_name}, {label})"


def _selected(name: str, query: str) -> builders.QueryVariable:
    """A variable with any number of a query's values; at first all."""
    return (
        builders.QueryVariable(name)
        .datasource(DATA_SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _window() -> builders.CustomVariable:
    options = [models.VariableOption(selected=value == AUTO, text=text, value=value) for text, value in WINDOWS.items()]
    return (
        builders.CustomVariable("window")
        .label("Window")
        .description("The range of rates and quantiles; auto grows with the time range")
        .values(",".join(f"{text} : {value}" if text != value else text for text, value in WINDOWS.items()))
        .options(options)
        .current(models.VariableOption(selected=True, text="auto", value=AUTO))
    )


def _sources() -> Iterator[builders.DatasourceVariable]:
    """The data sources, in the menu of controls. Where ours do not exist, Grafana chooses its first of the type."""
    for name, label, uid in (
        ("prometheus", "Prometheus", "leeway-prometheus"),
        ("jaeger", "Jaeger", "leeway-jaeger"),
    ):
        yield (
            builders.DatasourceVariable(name)
            .label(label)
            .type(name)
            .current(models.VariableOption(selected=True, text=label, value=uid))
            .hide(models.VariableHide.IN_CONTROLS_MENU)
        )


def _reports() -> builders.TextBoxVariable:
    return (
        builders.TextBoxVariable("reports")
        .label("Drift reports")
        .description("Where your browser reaches the drift reports")
        .default_value(REPORTS_URL)
        .current(models.VariableOption(selected=True, text=REPORTS_URL, value=REPORTS_URL))
        .hide(models.VariableHide.IN_CONTROLS_MENU)
    )


def _recommendations() -> builders.AnnotationQuery:
    def active(moment: str) -> str:
        return largest(f"{series(names.DRIFT_RECOMMENDATION_ACTIVE)}{moment} == 1", names.DRIFT_RECOMMENDATION)

    return _changes("Recommendations", active, "orange", f"Recommendation: {legend(names.DRIFT_RECOMMENDATION)}")


def _versions() -> builders.AnnotationQuery:
    def serving(moment: str) -> str:
        return largest(f"{series(names.SCORE_REFERENCE)}{moment}", names.MODEL_VERSION)

    return _changes("Model versions", serving, "blue", f"New model version: {legend(names.MODEL_VERSION)}")


def _faults() -> builders.AnnotationQuery:
    """Marks the time in which a fault was active: Grafana joins the steps of a series into one region."""
    step_by_step = f"max_over_time({series(names.FAULT_ACTIVE)}[$__interval])"  # shows faults shorter than a step too
    asked = f"{largest(step_by_step, names.FAULT_NAME)} > 0"
    return _marks("Faults", asked, "red", f"Active fault: {legend(names.FAULT_NAME)}")


def _changes(name: str, state: Callable[[str], str], colour: str, title: str) -> builders.AnnotationQuery:
    """Marks the moments where a series starts: it exists, and one step earlier it did not."""
    return _marks(name, f"{state('')} unless {state(' offset $__interval')}", colour, title)


def _marks(name: str, asked: str, colour: str, title: str) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(DATA_SOURCE)
        .enable(True)
        .icon_color(colour)
        .placement(models.AnnotationQueryPlacement.IN_CONTROLS_MENU)
        .target(prometheus.Dataquery().ref_id("marks").datasource(DATA_SOURCE).expr(asked).interval("15s").range())
        .title_format(title)
    )
