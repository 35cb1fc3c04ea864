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
from observability.grafana.generate.__main__ import DASHBOARDS, FOLDER, RUNBOOK, main, texts
from observability.grafana.generate.board import AUTO, REFRESH, REPORTS_URL, WINDOWS
from observability.grafana.generate.home import KINDS
from observability.grafana.generate.queries import Recorded
from observability.grafana.generate.runs import STAGES
from service.telemetry.otel import typicality
from tests.config.boards import (
    ALL_BOARDS,
    BOARDS,
    EACH_BOARD,
    EVERY_BOARD,
    PROVISIONING,
    Document,
    panel_of,
    panels,
    parts,
    queries,
    source,
    values_of,
)
from tests.config.series import RULES, rules_of
from tests.drift.documents import NOON, a_run, result

KINDS_OF_FILES: Final = (DASHBOARDS, RUNBOOK)


def test_the_files_are_up_to_date() -> None:
    """The committed dashboards are exactly those that `make dashboards` writes."""
    committed = {
        f"{kind}/{path.name}": path.read_text() for kind in KINDS_OF_FILES for path in (FOLDER / kind).iterdir()
    }
    assert texts() == committed


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    """The generator writes all dashboards to a folder, and removes those that are no longer made."""
    outdated = tmp_path / RUNBOOK / "NoLongerAnAlert.json"
    outdated.parent.mkdir()
    outdated.touch()
    assert main(tmp_path) == 0
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.glob("*/*.json")}
    assert written == texts()


@EVERY_BOARD
def test_boards_cannot_be_edited(board: Document) -> None:
    """Dashboards cannot be edited in Grafana."""
    assert board["editable"] is False


def test_grafana_does_not_change_the_files() -> None:
    """Grafana loads dashboards and runbook from files into a folder each, and cannot save them."""
    providers = yaml.safe_load((PROVISIONING / "dashboards" / "leeway.yaml").read_text())["providers"]
    assert [each["folder"] for each in providers] == ["Leeway", "Leeway runbook"]
    assert [each["options"]["path"] for each in providers] == [f"/etc/grafana/{kind}" for kind in KINDS_OF_FILES]
    assert [each["allowUiUpdates"] for each in providers] == [False, False]


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


@EVERY_BOARD
def test_data_sources_are_variables(board: Document) -> None:
    """Dashboards query the data sources that their variables name; these are first the provisioned ones."""
    asked = {(each["type"], each["uid"]) for each in values_of(board, "datasource") if isinstance(each, dict)}
    assert ("prometheus", "${prometheus}") in asked
    assert asked <= {(name, f"${{{name}}}") for name in ("prometheus", "jaeger")}
    chosen = {each["name"]: each for each in board["templating"]["list"] if each["type"] == "datasource"}
    assert chosen.keys() == {"prometheus", "jaeger"}
    for name, variable in chosen.items():
        assert variable["query"] == name
        assert source(variable["current"]["value"])["type"] == name


@EACH_BOARD
def test_absent_data_is_not_zero(board: Document) -> None:
    """No query replaces absent data by 0."""
    assert [query for query in queries(board) if re.search(r"vector\(\s*0\s*\)", query)] == []


def urls(board: Document) -> set[str]:
    """The URLs of a dashboard's links."""
    return {url for url in values_of(board, "url") if url}


@pytest.mark.parametrize(
    ("board", "title"),
    [
        ("latency-drift", "Latency of single predictions"),
        ("latency-drift", "Usual, unusual"),
        ("drift", "Unusual features"),
        ("service", "Latency of /predict"),
        ("drift", "Runs by recommendation"),
    ],
)
def test_main_panels_have_exemplars(board: str, title: str) -> None:
    """The main panels query exemplars, and of buckets or counters, as others have none."""
    queried = [target["expr"] for target in panel_of(board, title)["targets"] if target["exemplar"]]
    assert queried
    assert all(re.search(r"_(bucket|total)\b", query) for query in queried)


def test_exemplars_link_to_their_traces() -> None:
    """An exemplar opens its trace with the provisioned data source, by the label that exporters write."""
    (destination,) = source("leeway-prometheus")["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == "trace_id"
    url = destination["url"]
    assert url.startswith("/explore?")
    panes = json.loads(parse_qs(urlsplit(url).query)["panes"][0])
    assert panes["trace"]["datasource"] == source("leeway-jaeger")["uid"]
    assert panes["trace"]["queries"][0]["query"] == "${__value.raw}"


RUNBOOK_OF_THE_POINT: Final = "/d/runbook-${__field.labels.alertname}"


@EVERY_BOARD
def test_links_work(board: Document) -> None:
    """Each link goes to a dashboard that exists, to a page of Grafana, or to the reports."""
    uids = {each["uid"] for each in ALL_BOARDS.values()}
    assert urls(board)
    for url in urls(board) - {RUNBOOK_OF_THE_POINT}:
        if url.startswith("/d/"):
            assert urlsplit(url).path.removeprefix("/d/") in uids
        else:
            assert urlsplit(url).path in {"/explore", "/alerting/list", f"{links.REPORTS}/at"}


@EVERY_BOARD
def test_links_have_no_address(board: Document) -> None:
    """No link of a dashboard has a host: on another machine it would lead elsewhere."""
    assert [url for url in urls(board) if "://" in url or "127.0.0.1" in url or "localhost" in url] == []
    assert [text for text in values_of(board, "content") if "](http" in text] == []
    (reports,) = [each for each in board["templating"]["list"] if each["name"] == "reports"]
    assert (reports["type"], reports["query"]) == ("textbox", REPORTS_URL)


@EVERY_BOARD
def test_links_keep_the_time(board: Document) -> None:
    """Each link to a report, a search or a dashboard carries the time."""
    kept = {each["url"] for each in board["links"] if each["keepTime"]}
    timed = urls(board) - kept - {links.ALERT_PAGE, RUNBOOK_OF_THE_POINT}
    assert [url for url in timed if not re.search(r"\$\{(__value\.time|__from|__to|__url_time_range)\}", url)] == []


@EVERY_BOARD
def test_dashboards_link_to_each_other(board: Document) -> None:
    """Each dashboard links to all at the top, in the same order, and keeps time range and variables."""
    at_the_top = [each for each in board["links"] if "placement" not in each]
    assert [each["url"] for each in at_the_top] == [f"/d/{uid}" for uid in links.BOARDS]
    assert {(each["keepTime"], each["includeVars"]) for each in at_the_top} == {(True, True)}
    assert set(links.BOARDS) == {each["uid"] for each in BOARDS.values()}


@EVERY_BOARD
def test_the_header_is_short(board: Document) -> None:
    """Other links, annotations, data sources and the reports' address are in the menu, so that the header is short."""
    hidden = [each["name"] for each in board["templating"]["list"] if each.get("hide") == 3]
    assert hidden == ["prometheus", "jaeger", "reports"]
    in_menu = [each["title"] for each in board["links"] if each.get("placement") == "inControlsMenu"]
    assert in_menu == ["Drift report", "Slow traces", "Strange traces", "Drift runs", "Alerts"]
    assert {each["placement"] for each in board["annotations"]["list"]} == {"inControlsMenu"}


def searches() -> list[Document]:
    """The searches for traces in links and tables."""
    pages = {url for board in BOARDS.values() for url in urls(board) if url.startswith("/explore")}
    panes = [json.loads(parse_qs(urlsplit(url).query)["panes"][0])["leeway"] for url in pages]
    assert all(each["range"] == {"from": "${__from}", "to": "${__to}"} for each in panes)
    linked = [each["queries"][0] for each in panes]
    tables = [target for board in BOARDS.values() for each in panels(board) for target in each["targets"]]
    return [each for each in [*linked, *tables] if each["datasource"]["type"] == "jaeger"]


def test_searches_use_existing_attributes() -> None:
    """Searches for traces use our service names, and attributes that spans have."""
    found = searches()
    assert {each["queryType"] for each in found} == {"search"}
    assert {each["service"] for each in found} == {"leeway-service", "leeway-drift"}
    assert {each["tags"] for each in found if "tags" in each} == {f"{names.TYPICALITY}=strange", "error=true"}


def test_home_lists_traces() -> None:
    """The home dashboard has tables of the slowest requests and of those with strange input."""
    asked = [each["targets"][0] for each in panels(BOARDS["latency-drift"]) if each["type"] == "table"]
    assert [(each.get("minDuration"), each.get("tags")) for each in asked] == [
        ("50ms", None),
        (None, f"{names.TYPICALITY}=strange"),
    ]


def test_report_links_work(tmp_path: Path) -> None:
    """The reports page answers a link by time with a redirect to a run."""
    folder = ReportFolder(tmp_path)
    folder.write(a_run(0))
    with serve_reports(folder, "127.0.0.1", 0) as address:
        for link in (links.REPORT_AT_POINT, links.REPORT_AT_END):
            filled = link.replace(links.REPORTS, address.url)
            url = re.sub(r"\$\{.*\}", str(int(NOON.timestamp() * 1000)), filled)
            assert httpx2.get(url).status_code == HTTPStatus.FOUND


def test_alerts_link_to_dashboards() -> None:
    """The dashboard of each alert exists."""
    named = {rule["annotations"]["dashboard"] for path in RULES for rule in rules_of(path) if "alert" in rule}
    assert named
    assert {urlsplit(url).path.removeprefix("/d/") for url in named} <= {each["uid"] for each in BOARDS.values()}


def test_a_missing_verdict_is_unknown() -> None:
    """A verdict without data is shown as unknown, not as ok."""
    verdicts = panel_of("latency-drift", "Verdicts")
    mapping, _ = verdicts["fieldConfig"]["defaults"]["mappings"]
    assert [target["expr"].rpartition(" or ")[2] for target in verdicts["targets"]] == ["vector(-1)"] * 4
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


def rows(board: Document) -> list[list[Document]]:
    """What shares a grid: the open panels and headings, and the panels of each collapsed row."""
    return [board["panels"], *(each["panels"] for each in board["panels"] if each.get("panels"))]


@EVERY_BOARD
def test_panels_fit_the_grid(board: Document) -> None:
    """Panels do not overlap and stay within the 24 columns of the grid."""
    for row in rows(board):
        taken: set[tuple[int, int]] = set()
        for each in row:
            place = each["gridPos"]
            right, bottom = place["x"] + place["w"], place["y"] + place["h"]
            cells = set(itertools.product(range(place["x"], right), range(place["y"], bottom)))
            assert not cells & taken, each["title"]
            assert right <= GRID_COLUMNS
            taken |= cells


@EVERY_BOARD
def test_rows_are_full(board: Document) -> None:
    """Rows of panels have no gaps."""
    for row in rows(board):
        places = [each["gridPos"] for each in row]
        top, bottom = min(place["y"] for place in places), max(place["y"] + place["h"] for place in places)
        assert sum(place["w"] * place["h"] for place in places) == GRID_COLUMNS * (bottom - top)


@EVERY_BOARD
def test_panel_ids_are_unique(board: Document) -> None:
    """Panel ids are unique within a dashboard."""
    numbers = [each["id"] for each in parts(board)]
    assert len(set(numbers)) == len(numbers)


@EVERY_BOARD
def test_dashboards_share_time_and_variables(board: Document) -> None:
    """Dashboards have a shared crosshair and the same variables; the range of rates grows with the time range."""
    assert board["graphTooltip"] == 1
    assert [each["name"] for each in board["templating"]["list"]] == [
        "model", "instance", "window", "prometheus", "jaeger", "reports",
    ]  # fmt: skip
    window = board["templating"]["list"][2]
    assert {each["text"]: each["value"] for each in window["options"]} == WINDOWS
    assert window["current"]["value"] == AUTO == "$__rate_interval"


@EVERY_BOARD
def test_the_refresh_leaves_time_to_click(board: Document) -> None:
    """By default dashboards refresh every 30 s, as a refresh closes an exemplar's popover; 5 s can be chosen."""
    assert board["refresh"] == REFRESH == "30s"
    assert board["timepicker"]["refresh_intervals"][0] == source("leeway-prometheus")["jsonData"]["timeInterval"]


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
