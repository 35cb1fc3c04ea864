"""What all dashboards share: variables, annotations, links, time range and refresh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate.links import TAG, header
from observability.grafana.generate.panels import DATA_SOURCE
from observability.grafana.generate.queries import largest, legend, series

WINDOWS: Final = ("1m", "5m", "15m", "1h")
REFRESH: Final = "5s"
"""The export and scrape interval."""
GRID_COLUMNS: Final = 24
Panel = Builder[models.Panel]


@dataclass(frozen=True)
class Row:
    """Panels of the same height side by side, each with its width of 24 columns, and an optional heading."""

    height: int
    panels: Sequence[tuple[int, Panel]]
    title: str | None = None


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
        .timepicker(builders.TimePicker().refresh_intervals([REFRESH, "30s", "5m"]))
        .links(header())
        .variables([_model(), _window()])
        .annotations([_recommendations(), _versions(), _faults()])
        .build()
    )
    made.panels = list(_placed(rows))
    return made


def _placed(rows: Iterable[Row]) -> Iterable[models.Panel | models.RowPanel]:
    """The panels with their positions and ids."""
    top, number = 0, 0
    for row in rows:
        if row.title is not None:
            number += 1
            heading = builders.Row(row.title).id(number).build()
            heading.grid_pos = models.GridPos(h=1, w=GRID_COLUMNS, x=0, y=top)
            yield heading
            top += 1
        left = 0
        for width, panel in row.panels:
            number += 1
            made = panel.build()
            made.id_val = number
            made.grid_pos = models.GridPos(h=row.height, w=width, x=left, y=top)
            yield made
            left += width
        top += row.height


def _model() -> builders.QueryVariable:
    metric, label = series(names.SCORE_REFERENCE), names.prometheus_label(names.MODEL_VERSION)
    return (
        builders.QueryVariable("model")
        .label("Model version")
        .description("Model versions in this time range")
        .datasource(DATA_SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_DESC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _window() -> builders.CustomVariable:
    return (
        builders.CustomVariable("window")
        .label("Window")
        .description("The range of rates and quantiles")
        .values(",".join(WINDOWS))
        .options([models.VariableOption(selected=each == WINDOWS[0], text=each, value=each) for each in WINDOWS])
        .current(models.VariableOption(selected=True, text=WINDOWS[0], value=WINDOWS[0]))
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
        .target(prometheus.Dataquery().ref_id("marks").datasource(DATA_SOURCE).expr(asked).interval("15s").range())
        .title_format(title)
    )
