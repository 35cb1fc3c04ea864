"""The panels of the dashboards, each held to what once misled or annoyed someone on call."""

from __future__ import annotations

import re
from typing import Final

import pytest

from drift.telemetry.gauges import MOST_SEGMENTS
from leeway.schema import CHURN_SCHEMA
from leeway.telemetry import names
from observability.grafana.generate import limits, states
from observability.grafana.generate.board import GRID_COLUMNS
from observability.prometheus.generate.__main__ import FILE
from observability.prometheus.generate.budgets import BUDGETS
from observability.prometheus.generate.objectives import (
    BATCH_LATENCY,
    DRIFT_RUNS,
    LATENCY,
    REQUEST_OBJECTIVES,
    Objective,
)
from tests.config.boards import BOARDS, Document, panel_of, panels, queries, values_of
from tests.config.promtool import ALERTS
from tests.config.series import rules_of
from tests.config.test_compose import SERVICES

OBJECTIVES: Final = {*(each.name for each in REQUEST_OBJECTIVES), DRIFT_RUNS}

# A window of 1280 pixels with Grafana's menu, measured in Grafana 12.3: 948 pixels for 24 columns.
COLUMN_PX, GAP_PX = 948 / GRID_COLUMNS, 8
TITLE_PX, AROUND_TITLE_PX = 7.6, 52
"""A character of a title, and what stands around the title: padding and the sign for the description."""
LABEL_PX, LABEL_SHARE = 6.6, 0.4
"""A character of a label on the axis, and the share of the panel that Grafana leaves for labels."""
ROW_PX, HEADER_PX, LEGEND_PX, LEAST_BAR_PX = 38, 40, 40, 28
"""A row of the grid with its gap, a panel's title, its legend, and what a bar with its label needs."""


def of_type(*types: str) -> list[Document]:
    """The panels of all dashboards of these types, or of any."""
    found = [each for board in BOARDS.values() for each in panels(board) if not types or each["type"] in types]
    assert found
    return found


def width_px(panel: Document) -> float:
    """The panel's width at 1280 pixels."""
    return float(panel["gridPos"]["w"] * COLUMN_PX - GAP_PX)


def height_px(panel: Document) -> float:
    """The panel's height."""
    return float(panel["gridPos"]["h"] * ROW_PX - GAP_PX)


def test_a_panel_is_described() -> None:
    """Each panel has a title, a unit, a description in sentences, and a text for absent data."""
    for panel in of_type():
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert defaults["unit"] if panel["type"] != "heatmap" else panel["options"]["yAxis"]["unit"]
        assert panel["description"].endswith(".")
        assert defaults["noValue"]


def test_current_values_are_instant() -> None:
    """Panels with current values use instant queries, or show the last point of a line that is NaN where it is absent.

    So they never show outdated values.
    """
    for panel in of_type("stat", "bargauge"):
        lines = [target for target in panel["targets"] if not target["instant"]]
        assert [each["expr"] for each in lines if not each["expr"].endswith(" or on () vector(NaN)")] == []
        assert panel["options"]["reduceOptions"]["calcs"] == (["last"] if lines else ["lastNotNull"])
        assert panel["options"].get("graphMode", "none") == ("area" if lines else "none")
    for panel in of_type():
        if panel["type"] not in {"stat", "bargauge", "table"}:
            assert [target for target in panel["targets"] if target["instant"]] == []


def test_the_strip_of_the_home_dashboard_shows_trends() -> None:
    """Requests, errors, latency, drift and performance show how they got to their current value."""
    targets = panel_of("latency-drift", "Now")["targets"]
    drawn = [target["legendFormat"] for target in targets if not target["instant"]]
    assert drawn == ["requests", "errors", "p95", "drift share", "performance"]


def test_every_series_has_a_legend() -> None:
    """Panels that may show several series have explicit legends."""
    for panel in of_type():
        if panel["type"] != "stat" or len(panel["targets"]) > 1:
            assert [target for target in panel["targets"] if target.get("legendFormat") == "__auto"] == []
        assert panel["targets"]


def test_overrides_match_a_series() -> None:
    """Each override by name matches a legend of the panel."""
    for panel in of_type():
        legends = {target["legendFormat"] for target in panel["targets"] if "expr" in target}
        matchers = [each["matcher"] for each in panel["fieldConfig"]["overrides"]]
        named = {each["options"] for each in matchers if each["id"] == "byName"}
        of_traces = {"Trace ID", "Duration", "Start time"} if panel["type"] == "table" else set()
        of_objectives = OBJECTIVES if "{{objective}}" in legends else set()
        assert named <= legends | of_traces | of_objectives


def is_grey(mappings: list[Document], text: str) -> bool:
    """Whether absent values are mapped to this text in grey."""
    found = [each["options"] for each in mappings if each["type"] == "special"]
    return [(each["match"], each["result"]["text"], each["result"]["color"]) for each in found] == [
        ("null+nan", text, states.GREY)
    ]


def test_absent_values_are_grey() -> None:
    """Where thresholds colour a value, an absent one is a grey text, also in overrides: never green."""
    for panel in of_type("stat", "bargauge"):
        defaults = panel["fieldConfig"]["defaults"]
        assert is_grey(defaults["mappings"], defaults["noValue"])
        for override in panel["fieldConfig"]["overrides"]:
            own = {each["id"]: each["value"] for each in override["properties"]}
            assert "noValue" not in own or is_grey(own["mappings"], own["noValue"])


def test_every_value_of_a_strip_keeps_its_place() -> None:
    """In a panel with several values, one that is absent has a value of its own: Grafana would leave it out."""
    for panel in of_type("stat"):
        if len(panel["targets"]) == 1:
            continue
        ends = {target["expr"].rpartition(" or ")[2] for target in panel["targets"]}
        assert ends <= {"vector(-1)", "on () vector(NaN)"}


def test_cells_count_events() -> None:
    """A heat map's unit is that of its axis; its cells are counts, not seconds."""
    for panel in of_type("heatmap"):
        assert "unit" not in panel["fieldConfig"]["defaults"]
        assert panel["options"]["yAxis"]["unit"]
        assert panel["options"]["cellValues"] == {"unit": "short", "decimals": 0}


def test_exemplars_do_not_hide_cells() -> None:
    """Exemplars in a heat map are translucent."""
    for panel in of_type("heatmap"):
        alpha = re.fullmatch(r"rgba\(.*,([\d.]+)\)", panel["options"]["exemplars"]["color"])
        assert alpha is not None
        assert float(alpha[1]) < 0.5


def test_states_over_time() -> None:
    """State timelines have no pager, a click has its own time, and a mapped state's tooltip has the state's text."""
    for panel in of_type("state-timeline"):
        assert panel["options"]["perPage"] == 0
        assert panel["options"]["mergeValues"] is False
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["color"]["mode"] == ("palette-classic" if defaults["mappings"] else "thresholds")


def test_axes_of_shares_end_at_100_percent() -> None:
    """An axis of shares reaches a little above 0 where all are 0, and never goes beyond 100 %."""
    for panel in of_type("timeseries"):
        defaults = panel["fieldConfig"]["defaults"]
        axes = [] if defaults["unit"] != "percentunit" else [defaults["custom"]["axisSoftMax"]]
        for override in panel["fieldConfig"]["overrides"]:
            own = {each["id"]: each["value"] for each in override["properties"]}
            if own.get("unit") == "percentunit":
                axes.append(own["custom.axisSoftMax"])
        assert all(0 < each <= 1 for each in axes)


def test_legends_fit() -> None:
    """Legends show the last value only: with a second one they are cut off at 1280 pixels."""
    for panel in of_type():
        legend = panel["options"].get("legend", {})
        assert legend.get("calcs", []) in ([], ["lastNotNull"])


def test_titles_fit() -> None:
    """A title fits the panel's width at 1280 pixels."""
    for panel in of_type():
        assert len(panel["title"]) * TITLE_PX + AROUND_TITLE_PX <= width_px(panel)


def test_labels_of_alerts_fit() -> None:
    """The longest name of an alert fits in front of its row at 1280 pixels."""
    longest = max(map(len, ALERTS))
    assert longest * LABEL_PX <= LABEL_SHARE * width_px(panel_of("latency-drift", "Alerts"))


def test_counters_have_a_counters_name() -> None:
    """Each metric in rate(), increase() and resets() ends like a counter; Grafana marks panels with others."""
    text = " ".join(query for board in BOARDS.values() for query in queries(board))
    counted = re.findall(r"\b(?:rate|increase|resets)\((\w+)", text)
    assert counted
    assert [name for name in counted if not name.endswith(("_total", "_count", "_bucket", "_sum"))] == []


def test_descriptions_hold_in_the_light_theme() -> None:
    """No text says that more is brighter: in the light theme it is darker."""
    words = [text for board in BOARDS.values() for key in ("description", "content") for text in values_of(board, key)]
    assert [text for text in words if text and re.search(r"\bbright", text)] == []


@pytest.mark.parametrize("board", ["latency-drift", "drift"])
def test_state_now_is_a_background(board: str) -> None:
    """Recommendation and verdicts colour the background: yellow text is hard to read in the light theme."""
    found = [each for each in panels(BOARDS[board]) if each["title"] in {"Recommendation", "Verdicts"}]
    assert found
    assert {each["options"]["colorMode"] for each in found} == {"background_solid"}


@pytest.mark.parametrize("window", BUDGETS)
def test_limits_of_burn_rates_are_those_of_the_alerts(window: str) -> None:
    """Each panel of burn rates draws the recorded limit of its window, and alerts fire at that limit."""
    drawn = {each["title"].rpartition(" ")[2]: each for each in panels(BOARDS["service"]) if "Burn" in each["title"]}
    budget = BUDGETS[window]
    assert drawn.keys() == {alarm.long for alarm in budget.alarms}
    for long, each in drawn.items():
        *ratios, limit = each["targets"]
        assert limit["expr"] == f'leeway:objective:burn_rate_limit{{over="{long}"}}'
        assert all(f"_ratio_rate{long} /" in ratio["expr"] for ratio in ratios)


def test_recorded_limits_are_those_of_the_alerts() -> None:
    """A recorded limit, times what the objective allows, is the limit in the alert's expression."""
    rules = rules_of(FILE)
    recorded = [rule for rule in rules if rule.get("record") == "leeway:objective:burn_rate_limit"]
    assert len(recorded) == len(BUDGETS["1d"].alarms)
    for rule in recorded:
        rate = float(rule["expr"].removeprefix("vector(").removesuffix(")"))
        for objective in REQUEST_OBJECTIVES:
            compared = f"{objective.ratio_name}{rule['labels']['over']} > {rate * (1 - objective.target):.6g}\n"
            assert [each for each in rules if each.get("alert") == objective.alert and compared in each["expr"]]


def lines_of(panel: Document) -> list[float]:
    """The values at which the panel draws dashed lines."""
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
    return [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]


@pytest.mark.parametrize(
    ("board", "title", "objective"),
    [
        ("latency-drift", "Latency of single", LATENCY),
        ("service", "Latency (", LATENCY),
        ("service", "Batches", BATCH_LATENCY),
    ],
)
def test_lines_are_the_objectives(board: str, title: str, objective: Objective) -> None:
    """The line in a panel of latencies is the bound of the objective's rule."""
    (line,) = lines_of(panel_of(board, title))
    assert f'le="{float(line)}"' in objective.bad("1h")


@pytest.mark.parametrize(
    ("board", "container", "saturation"), [("service", "service", "Memory"), ("drift", "drift", "Memory")]
)
def test_lines_of_memory_are_the_containers_limits(board: str, container: str, saturation: str) -> None:
    """The line in a panel of memory is the limit in compose.yaml, and the axis reaches it."""
    found = panel_of(board, saturation)
    unit = {"m": 2**20, "g": 2**30}
    text = SERVICES[container]["mem_limit"]
    assert lines_of(found) == [int(text[:-1]) * unit[text[-1]]]
    assert found["fieldConfig"]["defaults"]["custom"]["axisSoftMax"] == limits.memory_limit(container)


@pytest.mark.parametrize(
    ("title", "most"),
    [("Distance ÷ threshold, last run", len(CHURN_SCHEMA)), ("Drift share by segment, last run", MOST_SEGMENTS)],
)
def test_every_bar_has_room(title: str, most: int) -> None:
    """The bars of the last run's features and segments fit under each other, without overlapping."""
    bars = panel_of("drift", title)
    assert (height_px(bars) - HEADER_PX) / most >= LEAST_BAR_PX


@pytest.mark.parametrize("window", [alarm.long for alarm in BUDGETS["1d"].alarms])
def test_burn_rates_can_be_read(window: str) -> None:
    """Under its legend, a panel of burn rates has more than half of its height for the lines."""
    shown = panel_of("service", f"Burn rate over {window}")
    assert height_px(shown) - HEADER_PX - LEGEND_PX > height_px(shown) / 2


def test_batches_do_not_flatten_the_latency_of_singles() -> None:
    """No panel of lines draws latencies of both routes: a batch takes up to a hundred times as long."""
    routes = [
        {route for target in panel["targets"] for route in re.findall(r'http_route="([^"]+)"', target.get("expr", ""))}
        for panel in of_type("timeseries")
        if panel["fieldConfig"]["defaults"]["unit"] == "s"
    ]
    assert {"/predict"} in routes
    assert {"/predict/batch"} in routes
    assert {"/predict", "/predict/batch"} not in routes


def test_counts_in_buckets_have_no_extra_row() -> None:
    """A heat map of whole numbers names each row once: as upper bounds, Grafana drew the axis 0, 0, 1, 2."""
    layouts = {panel["title"]: panel["options"]["rowsFrame"]["layout"] for panel in of_type("heatmap")}
    assert layouts.pop("Unusual features per prediction") == "unknown"
    assert set(layouts.values()) == {"le"}


def test_usage_is_in_whole_percents() -> None:
    """CPU and memory as shares have a percent sign and no decimals, instead of ticks at 0.00, 0.00 and 0.01."""
    used = {
        each["title"]: each["fieldConfig"]["defaults"]
        for each in of_type("timeseries")
        if each["title"].startswith(("CPU usage", "Memory of"))
    }
    assert {"CPU usage", "CPU usage of the Collector", "Memory of the containers"} <= used.keys()
    assert {(each["unit"], each["decimals"]) for each in used.values()} == {("percentunit", 0)}


def test_rates_name_what_they_count() -> None:
    """Spans, points and items a second are called so: Grafana's unit of counts is "c/s"."""
    assert {panel["fieldConfig"]["defaults"].get("unit") for panel in of_type()} & {"cps", "ops", "hertz"} == set()
    assert panel_of("pipeline", "Spans sent and stored")["fieldConfig"]["defaults"]["unit"] == "suffix:spans/s"


def test_names_on_a_board_are_words() -> None:
    """No legend shows the name of a rule or an attribute: objectives, which are labels, are renamed."""
    for panel in of_type():
        legends = [target["legendFormat"] for target in panel["targets"] if "expr" in target]
        assert [each for each in legends if "_" in each.replace("__auto", "") and "{{" not in each] == []
        if "{{objective}}" in legends:
            renamed = {
                override["matcher"]["options"]: own["value"]
                for override in panel["fieldConfig"]["overrides"]
                for own in override["properties"]
                if own["id"] == "displayName"
            }
            assert renamed == {name: name.replace("_", " ") for name in OBJECTIVES}


def test_shares_of_a_handful_are_not_shown() -> None:
    """Shares of predictions need more than 20 scores: of a handful, they fall to 0 %."""
    targets = panel_of("service", "Predicted classes")["targets"]
    asked = [target["expr"] for target in targets if names.OUTCOME_REFERENCE.prometheus_name not in target["expr"]]
    assert len(asked) == len(targets) - 1
    assert all(query.endswith(f" > {limits.LEAST_SCORES}") for query in asked)


def test_quiet_needs_prometheus() -> None:
    """The row without alerts is shown only for times in which Prometheus ran."""
    assert states.quiet().endswith('and on () (max(up{job="prometheus"}) == 1)')
