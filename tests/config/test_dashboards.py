from __future__ import annotations

import itertools
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import yaml

from drift.report.app import serve_reports
from drift.report.folder import ReportFolder
from drift.result import RECOMMENDATIONS, read_result
from drift.telemetry import probe
from drift.telemetry.gauges import DriftGauges
from drift.verdicts.verdicts import FAR_BEYOND
from leeway.telemetry import names
from observability.grafana.generate import features, links, states
from observability.grafana.generate.__main__ import FOLDER, main, texts
from observability.grafana.generate.board import WINDOWS
from observability.grafana.generate.home import KINDS
from observability.grafana.generate.queries import Recorded
from observability.grafana.generate.runs import STAGES
from service.telemetry.otel import typicality
from tests.config.boards import (
    BOARDS,
    EACH_BOARD,
    EACH_PANEL,
    PROVISIONING,
    Document,
    panels,
    queries,
    source,
    values_of,
)
from tests.config.series import RULES, rules_of
from tests.drift.documents import NOON, a_run, result


def test_the_files_are_up_to_date() -> None:
    """The committed dashboards are exactly those that `make dashboards` writes."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert texts() == committed


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    """The generator writes all dashboards to a folder."""
    assert main(tmp_path) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == texts()


@EACH_BOARD
def test_boards_cannot_be_edited(board: Document) -> None:
    """Dashboards cannot be edited in Grafana."""
    assert board["editable"] is False


def test_grafana_does_not_change_the_files() -> None:
    """Grafana loads the dashboards from files into the folder Leeway and cannot save them."""
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "leeway.yaml").read_text())["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("Leeway", "leeway")
    assert provider["allowUiUpdates"] is False


def test_span_tags_are_labels() -> None:
    """The metrics of a span are found by an attribute of ours and its label."""
    tags = source("leeway-jaeger")["jsonData"]["tracesToMetrics"]["tags"]
    assert [(tag["key"], tag["value"]) for tag in tags] == [
        (names.HTTP_ROUTE, names.prometheus_label(names.HTTP_ROUTE))
    ]


def test_every_objective_in_a_query_exists() -> None:
    """Each objective in a query has a target in the rules."""
    asked = [query for board in BOARDS.values() for query in queries(board)]
    named = {name for query in asked for name in re.findall(r'objective="(\w+)"', query)}
    targets = [rule for path in RULES for rule in rules_of(path) if rule.get("record") == Recorded.OBJECTIVE]
    kept = {rule["labels"]["objective"] for rule in targets}
    assert named
    assert named <= kept


@EACH_BOARD
def test_every_data_source_exists(board: Document) -> None:
    """Dashboards query provisioned data sources only."""
    asked = {(each["type"], each["uid"]) for each in values_of(board, "datasource")}
    assert asked == {("prometheus", source("leeway-prometheus")["uid"])}


@EACH_BOARD
def test_absent_data_is_not_zero(board: Document) -> None:
    """No query replaces absent data by 0."""
    assert [query for query in queries(board) if re.search(r"vector\(\s*0\s*\)", query)] == []


def urls(board: Document) -> set[str]:
    """The URLs of a dashboard's links."""
    return {url for url in values_of(board, "url") if url}


@pytest.mark.parametrize(
    ("board", "panel"),
    [
        ("latency-drift", "Latency of single predictions"),
        ("latency-drift", "Unusual features"),
        ("service", "Latency of /predict"),
        ("drift", "Runs by recommendation"),
    ],
)
def test_main_panels_have_exemplars(board: str, panel: str) -> None:
    """The main panels query exemplars."""
    (found,) = [each for each in panels(BOARDS[board]) if each["title"].startswith(panel)]
    assert any(target["exemplar"] for target in found["targets"])


def test_exemplars_link_to_jaeger() -> None:
    """An exemplar links to its trace in Jaeger, by the label that exporters write."""
    destinations = source("leeway-prometheus")["jsonData"]["exemplarTraceIdDestinations"]
    assert {each["name"] for each in destinations} == {"trace_id"}
    assert destinations[0]["url"] == f"{links.JAEGER}/trace/${{__value.raw}}"


def test_exemplars_link_to_grafana() -> None:
    """An exemplar's second link opens the trace with the provisioned data source."""
    url = source("leeway-prometheus")["jsonData"]["exemplarTraceIdDestinations"][1]["url"]
    panes = json.loads(parse_qs(urlsplit(url).query)["panes"][0])
    assert panes["trace"]["datasource"] == source("leeway-jaeger")["uid"]
    assert panes["trace"]["queries"][0]["query"] == "${__value.raw}"


@EACH_BOARD
def test_links_work(board: Document) -> None:
    """Each link goes to a dashboard that exists or to a page that compose.yaml publishes."""
    uids = {each["uid"] for each in BOARDS.values()}
    pages = {links.REPORTS: {"/at"}, links.JAEGER: {"/search"}, links.PROMETHEUS: {"/alerts", "/targets"}}
    assert urls(board)
    for url in urls(board):
        if url.startswith("/d/"):
            assert urlsplit(url).path.removeprefix("/d/") in uids
        else:
            parts = urlsplit(url)
            assert parts.path in pages[f"{parts.scheme}://{parts.netloc}"]


@EACH_BOARD
def test_links_keep_the_time(board: Document) -> None:
    """Each link to a report, a search or a dashboard carries the time."""
    timed = [url for url in urls(board) if not url.startswith(links.PROMETHEUS)]
    assert [url for url in timed if not re.search(r"\$\{(__value\.time|__from|__to|__url_time_range)\}", url)] == []


@EACH_BOARD
def test_dashboards_link_to_each_other(board: Document) -> None:
    """Each dashboard links to all others and keeps time range and variables."""
    (listed,) = [each for each in board["links"] if each["type"] == "dashboards"]
    assert (listed["keepTime"], listed["includeVars"]) == (True, True)
    assert all(set(listed["tags"]) <= set(each["tags"]) for each in BOARDS.values())


@EACH_BOARD
def test_links_are_visible(board: Document) -> None:
    """Links and annotations are not in a menu."""
    assert "inControlsMenu" not in set(values_of(board, "placement"))


def test_searches_use_existing_attributes() -> None:
    """Searches in Jaeger use our service names, microseconds, and attributes that spans have."""
    searches = {url for board in BOARDS.values() for url in urls(board) if url.startswith(f"{links.JAEGER}/search")}
    asked = [{name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} for url in searches]
    assert {each["service"] for each in asked} == {"leeway-service", "leeway-drift"}
    assert {(each["start"], each["end"]) for each in asked} == {("${__from}000", "${__to}000")}
    tags = {name for each in asked for name in json.loads(each.get("tags", "{}"))}
    assert tags == {names.TYPICALITY, "error"}


def test_report_links_work(tmp_path: Path) -> None:
    """The reports page answers a link by time with a redirect to a run."""
    folder = ReportFolder(tmp_path)
    folder.write(a_run(0))
    with serve_reports(folder, "127.0.0.1", 0) as address:
        for link in (links.REPORT_AT_POINT, links.REPORT_AT_END):
            parts = urlsplit(re.sub(r"\$\{.*\}", str(int(NOON.timestamp() * 1000)), link))
            assert httpx2.get(f"{address.url}{parts.path}?{parts.query}").status_code == HTTPStatus.FOUND


def test_alerts_link_to_dashboards() -> None:
    """The dashboard of each alert exists."""
    named = {rule["annotations"]["dashboard"] for path in RULES for rule in rules_of(path) if "alert" in rule}
    assert named
    assert {urlsplit(url).path.removeprefix("/d/") for url in named} <= {each["uid"] for each in BOARDS.values()}


def test_a_missing_verdict_is_unknown() -> None:
    """A verdict without data is shown as unknown, not as ok."""
    (panel,) = [each for each in panels(BOARDS["latency-drift"]) if each["title"] == "Verdicts"]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert [target["expr"].rpartition(" or ")[2] for target in panel["targets"]] == ["vector(-1)"] * 4
    assert mapping["options"]["-1"]["text"] == "unknown"


def test_verdicts_are_the_workers() -> None:
    """The dashboards map the numbers of the worker's verdicts to their states."""
    document = result(0)
    gauges = DriftGauges(0.3, None, 30, now_s=lambda: 0.0)
    for number, (text, _) in states.VERDICTS.items():
        verdicts = {question: {"state": text, "evidence": ""} for question in document["verdicts"]}
        gauges.show(read_result(document | {"verdicts": verdicts}), 0.0)
        read = {labels[names.DRIFT_QUESTION]: value for value, labels in gauges.readings()[names.DRIFT_VERDICT]()}
        assert read == ({} if number == states.UNKNOWN else dict.fromkeys(states.QUESTIONS, number))


def test_recommendations_are_the_workers() -> None:
    """The dashboards have a state for each recommendation of the worker, and one for no worker."""
    assert {text for text, _ in states.RECOMMENDATIONS.values()} == {*RECOMMENDATIONS, "no worker"}


def test_typicalities_are_those_of_the_service() -> None:
    """The lines of latency by typicality are the typicalities of the service."""
    assert list(KINDS) == list(dict.fromkeys(map(typicality, range(10))))


def test_far_beyond_is_the_workers() -> None:
    """A feature is red from the multiple that leads to INVESTIGATE."""
    assert features.FAR_BEYOND == FAR_BEYOND


def test_stages_are_those_of_a_run() -> None:
    """The panel of stages shows the stages of a run's trace."""
    assert STAGES == probe.STAGES


GRID_COLUMNS: Final = 24
MOST_PANELS_AT_HOME: Final = 12


@EACH_BOARD
def test_panels_fit_the_grid(board: Document) -> None:
    """Panels do not overlap and stay within the 24 columns of the grid."""
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
    """Rows of panels have no gaps."""
    places = [panel["gridPos"] for panel in board["panels"]]
    bottom = max(place["y"] + place["h"] for place in places)
    assert sum(place["w"] * place["h"] for place in places) == GRID_COLUMNS * bottom


@EACH_BOARD
def test_panel_ids_are_unique(board: Document) -> None:
    """Panel ids are unique within a dashboard."""
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


@EACH_PANEL
def test_a_panel_is_described(panel: Document) -> None:
    """Each panel has a title, a unit, a description in sentences, and a text for absent data."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert defaults["unit"]
    assert panel["description"].endswith(".")
    assert defaults["noValue"]


@EACH_PANEL
def test_current_values_are_instant(panel: Document) -> None:
    """Panels with current values use instant queries, so that they never show outdated values."""
    now = {target["instant"] for target in panel["targets"]}
    assert now == {panel["type"] in {"stat", "bargauge"}}


@EACH_PANEL
def test_every_series_has_a_legend(panel: Document) -> None:
    """Panels that may show several series have explicit legends."""
    if panel["type"] != "stat" or len(panel["targets"]) > 1:
        assert [target["legendFormat"] for target in panel["targets"] if target["legendFormat"] == "__auto"] == []
    assert panel["targets"]


@EACH_PANEL
def test_overrides_match_a_series(panel: Document) -> None:
    """Each override by name matches a legend of the panel."""
    legends = {target["legendFormat"] for target in panel["targets"]}
    matchers = [each["matcher"] for each in panel["fieldConfig"]["overrides"]]
    named = {each["options"] for each in matchers if each["id"] == "byName"}
    assert named <= legends


@EACH_BOARD
def test_dashboards_share_time_and_variables(board: Document) -> None:
    """Dashboards have a shared crosshair, the scrape interval as refresh, and the same two variables."""
    scraped = source("leeway-prometheus")["jsonData"]["timeInterval"]
    assert board["graphTooltip"] == 1
    assert board["refresh"] == scraped
    assert [each["name"] for each in board["templating"]["list"]] == ["model", "window"]
    assert [each["text"] for each in board["templating"]["list"][1]["options"]] == list(WINDOWS)


@EACH_BOARD
def test_dashboards_mark_changes(board: Document) -> None:
    """Dashboards mark changes of the recommendation and the model version, and injected faults."""
    marked = {each["name"]: each["target"]["expr"] for each in board["annotations"]["list"] if each["enable"]}
    assert names.DRIFT_RECOMMENDATION_ACTIVE.prometheus_name in marked["Recommendations"]
    assert names.prometheus_label(names.MODEL_VERSION) in marked["Model versions"]
    assert names.FAULT_ACTIVE.prometheus_name in marked["Faults"]


def test_home_is_small() -> None:
    """The home dashboard has at most twelve panels."""
    assert len(panels(BOARDS["latency-drift"])) <= MOST_PANELS_AT_HOME
