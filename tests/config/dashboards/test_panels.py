from __future__ import annotations

import itertools
from typing import Final

from leeway.telemetry import names
from observability.grafana.generate.board import WINDOWS
from tests.config.boards import BOARDS, Document, panels
from tests.config.dashboards.provisioned import EACH_BOARD, EACH_PANEL, source

GRID_COLUMNS: Final = 24
MOST_PANELS_AT_HOME: Final = 12


@EACH_BOARD
def test_panels_fit_the_grid(board: Document) -> None:
    """No two panels overlap, and none leaves the grid's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        right, bottom = place["x"] + place["w"], place["y"] + place["h"]
        cells = set(itertools.product(range(place["x"], right), range(place["y"], bottom)))
        assert not cells & taken, panel["title"]
        assert right <= GRID_COLUMNS
        taken |= cells


@EACH_BOARD
def test_rows_are_full(board: Document) -> None:
    """Panels stand in full rows without holes: the area they cover is the rectangle they span."""
    places = [panel["gridPos"] for panel in board["panels"]]
    bottom = max(place["y"] + place["h"] for place in places)
    assert sum(place["w"] * place["h"] for place in places) == GRID_COLUMNS * bottom


@EACH_BOARD
def test_panels_have_numbers_of_their_own(board: Document) -> None:
    """A link to a panel finds one panel."""
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


@EACH_PANEL
def test_a_panel_says_what_it_shows(panel: Document) -> None:
    """Every panel has a title, a unit, a description in sentences, and words for where nothing is reported."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert defaults["unit"]
    assert panel["description"].endswith(".")
    assert defaults["noValue"]


@EACH_PANEL
def test_a_number_is_never_an_old_one(panel: Document) -> None:
    """A single number is asked for this moment: of a range the last one seen would stay, long after it is over."""
    now = {target["instant"] for target in panel["targets"]}
    assert now == {panel["type"] in {"stat", "bargauge"}}


@EACH_PANEL
def test_every_series_has_a_name(panel: Document) -> None:
    """No legend is left to chance where a panel may show more than one series."""
    if panel["type"] != "stat" or len(panel["targets"]) > 1:
        assert [target["legendFormat"] for target in panel["targets"] if target["legendFormat"] == "__auto"] == []
    assert panel["targets"]


@EACH_PANEL
def test_an_override_meets_a_series(panel: Document) -> None:
    """What is set for one series by name is set for one that the panel shows."""
    legends = {target["legendFormat"] for target in panel["targets"]}
    matchers = [each["matcher"] for each in panel["fieldConfig"]["overrides"]]
    named = {each["options"] for each in matchers if each["id"] == "byName"}
    assert named <= legends


@EACH_BOARD
def test_boards_share_time_and_choices(board: Document) -> None:
    """Every board has the shared crosshair, a refresh as often as metrics are scraped, and the same two variables."""
    scraped = source("leeway-prometheus")["jsonData"]["timeInterval"]
    assert board["graphTooltip"] == 1
    assert board["refresh"] == scraped
    assert [each["name"] for each in board["templating"]["list"]] == ["model", "window"]
    assert [each["text"] for each in board["templating"]["list"][1]["options"]] == list(WINDOWS)


@EACH_BOARD
def test_boards_mark_what_changed(board: Document) -> None:
    """Every board marks changes of the recommendation and of the model version, and faults that were tried out."""
    marked = {each["name"]: each["target"]["expr"] for each in board["annotations"]["list"] if each["enable"]}
    assert names.DRIFT_RECOMMENDATION_ACTIVE.prometheus_name in marked["Recommendations"]
    assert names.prometheus_label(names.MODEL_VERSION) in marked["Model versions"]
    assert names.FAULT_ACTIVE.prometheus_name in marked["Faults"]


def test_home_is_small() -> None:
    """The home board has at most twelve panels."""
    assert len(panels(BOARDS["latency-drift"])) <= MOST_PANELS_AT_HOME
