from __future__ import annotations

import itertools
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from drift import probe
from drift.gauges import DriftGauges
from drift.otel_probe import RECOMMENDATIONS
from drift.reports import ReportFolder
from drift.site import Site
from drift.verdicts import FAR_BEYOND
from leeway.telemetry import names
from observability.grafana.generate import features, links, states
from observability.grafana.generate.__main__ import main
from observability.grafana.generate.board import WINDOWS
from observability.grafana.generate.files import FOLDER, texts
from observability.grafana.generate.home import KINDS
from observability.grafana.generate.queries import Recorded
from observability.grafana.generate.runs import STAGES
from service.otel_probe import typicality
from tests.config.boards import BOARDS, Document, panels, queries, values_of
from tests.config.known_metrics import RULES, complaints, known_series, rules_of
from tests.drift.documents import NOON, result, run_id

PROVISIONING: Final = FOLDER.parent / "provisioning"
GRID_COLUMNS: Final = 24
MOST_PANELS_AT_HOME: Final = 12
JAEGERS_OWN: Final = {
    # Jaeger 2.13.0, of itself: it is built on the Collector, and names the same things with unit and `_total`.
    "otelcol_exporter_sent_spans_total": {"job", "instance", "exporter"},
    "otelcol_exporter_send_failed_spans_total": {"job", "instance", "exporter"},
    "otelcol_process_memory_rss_bytes": {"job", "instance"},
}

EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


EACH_PANEL = pytest.mark.parametrize(
    "panel",
    [panel for board in BOARDS.values() for panel in panels(board)],
    ids=[f"{name}: {panel['title']}" for name, board in BOARDS.items() for panel in panels(board)],
)


def urls(board: Document) -> set[str]:
    """Where a board leads."""
    return {url for url in values_of(board, "url") if url}


def source(uid: str) -> Document:
    """One of the provisioned data sources, as Grafana reads it: two dollar signs are one."""
    document = yaml.safe_load((PROVISIONING / "datasources" / "leeway.yaml").read_text().replace("$$", "$"))
    (found,) = [each for each in document["datasources"] if each["uid"] == uid]
    return dict(found)


TRACES_TO_METRICS: Final[Document] = source("leeway-jaeger")["jsonData"]["tracesToMetrics"]
SPAN_QUERIES: Final = {each["name"]: each["query"] for each in TRACES_TO_METRICS["queries"]}


def test_the_files_are_what_the_code_makes() -> None:
    """The committed dashboards are those that `make dashboards` writes, and there are no others."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert texts() == committed


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    """The generator's command writes what it makes into a folder."""
    assert main(tmp_path) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == texts()


@EACH_BOARD
def test_every_name_in_a_query_exists(board: Document) -> None:
    """No query names a metric, a label or a bucket bound that nobody reports."""
    known = known_series() | JAEGERS_OWN
    asked = queries(board)
    assert len(asked) > len(panels(board))
    assert [(query, found) for query in asked if (found := complaints(query, known))] == []


@pytest.mark.parametrize("query", SPAN_QUERIES.values(), ids=SPAN_QUERIES.keys())
def test_every_name_in_a_spans_queries_exists(query: str) -> None:
    """Neither do the queries that lead from a span to its metrics and to the drift around it."""
    tags = TRACES_TO_METRICS["tags"]
    filled = query.replace("$__tags", ", ".join(f'{tag["value"]}="x"' for tag in tags))
    assert complaints(filled, known_series()) == []


def test_a_spans_tags_are_ours() -> None:
    """What a span is looked up by is an attribute of ours and its label."""
    tags = TRACES_TO_METRICS["tags"]
    assert [(tag["key"], tag["value"]) for tag in tags] == [
        (names.HTTP_ROUTE, names.prometheus_label(names.HTTP_ROUTE))
    ]


def test_every_objective_in_a_query_exists() -> None:
    """An objective that a board names has its target in a rule."""
    asked = [query for board in BOARDS.values() for query in queries(board)]
    named = {name for query in asked for name in re.findall(r'objective="(\w+)"', query)}
    targets = [rule for path in RULES for rule in rules_of(path) if rule.get("record") == Recorded.OBJECTIVE]
    kept = {rule["labels"]["objective"] for rule in targets}
    assert named
    assert named <= kept


@EACH_BOARD
def test_every_data_source_exists(board: Document) -> None:
    """A board asks provisioned data sources only, by uid."""
    asked = {(each["type"], each["uid"]) for each in values_of(board, "datasource")}
    assert asked == {("prometheus", source("leeway-prometheus")["uid"])}


@EACH_BOARD
def test_no_query_makes_a_zero_of_nothing(board: Document) -> None:
    """Absent stays absent, or becomes a state that says so: no query fills a hole with 0."""
    assert [query for query in queries(board) if re.search(r"vector\(\s*0\s*\)", query)] == []


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


@EACH_BOARD
def test_boards_cannot_be_edited(board: Document) -> None:
    """What is generated is not edited by hand, in Grafana neither."""
    assert board["editable"] is False


def test_home_is_small() -> None:
    """The home board has at most twelve panels."""
    assert len(panels(BOARDS["latency-drift"])) <= MOST_PANELS_AT_HOME


@pytest.mark.parametrize(
    ("board", "panel"),
    [
        ("latency-drift", "Latency × drift"),
        ("latency-drift", "Unusual features"),
        ("service", "Latency of /predict"),
        ("drift", "Runs by recommendation"),
    ],
)
def test_spikes_lead_to_traces(board: str, panel: str) -> None:
    """The panels that an engineer looks at first ask for exemplars."""
    (found,) = [each for each in panels(BOARDS[board]) if each["title"].startswith(panel)]
    assert any(target["exemplar"] for target in found["targets"])


def test_exemplars_lead_to_jaeger() -> None:
    """A click on an exemplar opens its trace: the label is the one that exporters write, the page is Jaeger's."""
    destinations = source("leeway-prometheus")["jsonData"]["exemplarTraceIdDestinations"]
    assert {each["name"] for each in destinations} == {"trace_id"}
    assert destinations[0]["url"] == f"{links.JAEGER}/trace/${{__value.raw}}"


def test_the_trace_opens_in_grafana_too() -> None:
    """The second way asks the provisioned data source for that trace."""
    url = source("leeway-prometheus")["jsonData"]["exemplarTraceIdDestinations"][1]["url"]
    panes = json.loads(parse_qs(urlsplit(url).query)["panes"][0])
    assert panes["trace"]["datasource"] == source("leeway-jaeger")["uid"]
    assert panes["trace"]["queries"][0]["query"] == "${__value.raw}"


@EACH_BOARD
def test_links_lead_somewhere(board: Document) -> None:
    """A link leads to a board that exists or to a page that compose publishes."""
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
    """Every link to a report, a search or another board carries the time that was looked at."""
    timed = [url for url in urls(board) if not url.startswith(links.PROMETHEUS)]
    assert [url for url in timed if not re.search(r"\$\{(__value\.time|__from|__to|__url_time_range)\}", url)] == []


@EACH_BOARD
def test_boards_lead_to_each_other(board: Document) -> None:
    """Every board is among the links at the top of every other, which keep time and variables."""
    (listed,) = [each for each in board["links"] if each["type"] == "dashboards"]
    assert (listed["keepTime"], listed["includeVars"]) == (True, True)
    assert all(set(listed["tags"]) <= set(each["tags"]) for each in BOARDS.values())


@EACH_BOARD
def test_links_are_in_sight(board: Document) -> None:
    """Neither links nor annotations hide in a menu."""
    assert "inControlsMenu" not in set(values_of(board, "placement"))


def test_searches_ask_for_what_spans_carry() -> None:
    """A search in Jaeger asks a service of ours, in microseconds, for attributes that spans have."""
    searches = {url for board in BOARDS.values() for url in urls(board) if url.startswith(f"{links.JAEGER}/search")}
    asked = [{name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} for url in searches]
    assert {each["service"] for each in asked} == {"leeway-service", "leeway-drift"}
    assert {(each["start"], each["end"]) for each in asked} == {("${__from}000", "${__to}000")}
    tags = {name for each in asked for name in json.loads(each.get("tags", "{}"))}
    assert tags == {names.TYPICALITY, "error"}


def test_the_reports_page_understands_the_links(tmp_path: Path) -> None:
    """A link to the report of a moment is answered by the reports page with a run."""
    folder = ReportFolder(tmp_path)
    folder.write(run_id(0), result(0), None, None)
    for link in (links.REPORT_AT_POINT, links.REPORT_AT_END):
        parts = urlsplit(re.sub(r"\$\{.*\}", str(int(NOON.timestamp() * 1000)), link))
        assert Site(folder).answer(parts.path, parts.query).status == HTTPStatus.FOUND


def test_a_missing_verdict_is_unknown() -> None:
    """A verdict that nobody reports is shown as unknown, never as ok."""
    (panel,) = [each for each in panels(BOARDS["latency-drift"]) if each["title"] == "Verdicts"]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert [target["expr"].rpartition(" or ")[2] for target in panel["targets"]] == ["vector(-1)"] * 4
    assert mapping["options"]["-1"]["text"] == "unknown"


def test_verdicts_mean_what_the_worker_means() -> None:
    """The boards know the questions and states of the worker's verdicts, as numbers."""
    document = result(0)
    gauges = DriftGauges(0.3, {}, 30, now_s=lambda: 0.0)
    for number, (text, _) in states.VERDICTS.items():
        verdicts = {question: {"state": text, "evidence": ""} for question in document["verdicts"]}
        gauges.show(document | {"verdicts": verdicts}, 0.0)
        read = {labels[names.DRIFT_QUESTION]: value for value, labels in gauges.readings()[names.DRIFT_VERDICT]()}
        assert read == ({} if number == states.UNKNOWN else dict.fromkeys(states.QUESTIONS, number))


def test_recommendations_mean_what_the_worker_means() -> None:
    """The boards have a number for each of the worker's recommendations, and one for no worker at all."""
    assert {text for text, _ in states.RECOMMENDATIONS.values()} == {*RECOMMENDATIONS, "no worker"}


def test_kinds_of_input_are_those_of_the_service() -> None:
    """The lines of the three kinds of input are the kinds that the service tells apart."""
    assert list(KINDS) == list(dict.fromkeys(map(typicality, range(10))))


def test_far_beyond_is_what_the_worker_means() -> None:
    """A feature is red from where it is reason enough to act."""
    assert features.FAR_BEYOND == FAR_BEYOND


def test_stages_are_those_of_a_run() -> None:
    """What a run takes its time for names the stages of its trace."""
    assert STAGES == probe.STAGES


def test_grafana_shows_the_files_and_changes_nothing() -> None:
    """The boards are read from files into the folder Leeway, and cannot be saved over."""
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "leeway.yaml").read_text())["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("Leeway", "leeway")
    assert provider["allowUiUpdates"] is False


def test_alerts_lead_to_boards_that_exist() -> None:
    """The dashboard that an alert names is one of ours."""
    named = {rule["annotations"]["dashboard"] for path in RULES for rule in rules_of(path) if "alert" in rule}
    assert named
    assert {urlsplit(url).path.removeprefix("/d/") for url in named} <= {each["uid"] for each in BOARDS.values()}
