from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from drift.report.app import serve_reports
from drift.report.folder import ReportFolder
from leeway.telemetry import names
from observability.grafana.generate import links
from tests.config.boards import BOARDS, Document, panels, values_of
from tests.config.dashboards.provisioned import EACH_BOARD, source
from tests.config.known_metrics import RULES, rules_of
from tests.drift.documents import NOON, a_run


def urls(board: Document) -> set[str]:
    """Where a board leads."""
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
    folder.write(a_run(0))
    with serve_reports(folder, "127.0.0.1", 0) as address:
        for link in (links.REPORT_AT_POINT, links.REPORT_AT_END):
            parts = urlsplit(re.sub(r"\$\{.*\}", str(int(NOON.timestamp() * 1000)), link))
            assert httpx2.get(f"{address.url}{parts.path}?{parts.query}").status_code == HTTPStatus.FOUND


def test_alerts_lead_to_boards_that_exist() -> None:
    """The dashboard that an alert names is one of ours."""
    named = {rule["annotations"]["dashboard"] for path in RULES for rule in rules_of(path) if "alert" in rule}
    assert named
    assert {urlsplit(url).path.removeprefix("/d/") for url in named} <= {each["uid"] for each in BOARDS.values()}
