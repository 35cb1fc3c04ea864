"""Links; each carries the time of the dashboard or of the clicked point.

They are relative, so that they work wherever Grafana is reached from. Reports are outside of Grafana: a variable of the
dashboards has their address.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names

HOME, SERVICE, DRIFT, PIPELINE = "leeway-home", "leeway-service", "leeway-drift", "leeway-pipeline"
BOARDS: Final = {HOME: "Home", SERVICE: "Service", DRIFT: "Drift", PIPELINE: "Pipeline"}
"""The dashboards in the order in which each of them links to all."""
TAG: Final = "leeway"
"""The tag of all dashboards."""
RUNBOOK: Final = "runbook-"
"""The uid of an alert's page in the runbook is this and the alert's name."""

REPORTS: Final = "${reports:raw}"
"""The dashboards' variable: where a browser reaches the drift worker's reports."""

# Resource names of the two processes, as Jaeger lists them.
API, WORKER = "leeway-service", "leeway-drift"
SLOW: Final = "50ms"


def search(service: str, *, slower_than: str | None = None, tags: str | None = None, limit: int = 20) -> dict[str, Any]:
    """A search of Grafana's Jaeger data source. `tags` are in its notation: `key=value`."""
    query: dict[str, Any] = {"queryType": "search", "service": service, "limit": limit}
    if slower_than:
        query["minDuration"] = slower_than
    if tags:
        query["tags"] = tags
    return query


SLOW_SEARCH: Final = search(API, slower_than=SLOW)
STRANGE_SEARCH: Final = search(API, tags=f"{names.TYPICALITY}=strange")
FAILED_SEARCH: Final = search(API, tags="error=true")
RUNS_SEARCH: Final = search(WORKER)


def explore(source: str, query: dict[str, Any]) -> str:
    """Grafana's page Explore with this query, over the dashboard's time range.

    `source` is a variable of the dashboards: prometheus or jaeger.
    """
    uid = f"${{{source}}}"
    asked = {"refId": "A", "datasource": {"type": source, "uid": uid}} | query
    pane = {"datasource": uid, "queries": [asked], "range": {"from": "${__from}", "to": "${__to}"}}
    panes = quote(json.dumps({"leeway": pane}, separators=(",", ":")), safe="")
    return "/explore?schemaVersion=1&panes=" + re.sub(r"%24%7B(\w+)%7D", r"${\1}", panes)  # Grafana fills these in


def board(uid: str) -> str:
    """Another dashboard, with the same time range and variables."""
    return f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"


def link(title: str, url: str) -> builders.DashboardLink:
    """A link from a panel or one of its points."""
    return builders.DashboardLink(title).url(url).target_blank(not url.startswith("/d/"))


SLOW_TRACES: Final = explore("jaeger", SLOW_SEARCH)
STRANGE_TRACES: Final = explore("jaeger", STRANGE_SEARCH)
FAILED_TRACES: Final = explore("jaeger", FAILED_SEARCH)
RUN_TRACES: Final = explore("jaeger", RUNS_SEARCH)
REPORT_AT_POINT: Final = f"{REPORTS}/at?time=${{__value.time}}"
REPORT_AT_END: Final = f"{REPORTS}/at?time=${{__to}}"
ALERT_PAGE: Final = "/alerting/list"

TO_SLOW: Final = link("Slow requests in this time range", SLOW_TRACES)
TO_STRANGE: Final = link("Strange inputs in this time range", STRANGE_TRACES)
TO_FAILED: Final = link("Failed requests in this time range", FAILED_TRACES)
TO_RUNS: Final = link("Drift runs in this time range", RUN_TRACES)
TO_REPORT: Final = link("Drift report at this time", REPORT_AT_POINT)
TO_LAST_REPORT: Final = link("Drift report at the end of this time range", REPORT_AT_END)
TO_ALERTS: Final = link("Alerts", ALERT_PAGE)
TO_RUNBOOK: Final = link("Runbook of this alert", f"/d/{RUNBOOK}${{__field.labels.alertname}}")
TO_TARGETS: Final = link("Targets in Explore", explore("prometheus", {"expr": "up", "range": True}))
TO_SERVICE: Final = link("Service dashboard", board(SERVICE))
TO_DRIFT: Final = link("Drift dashboard", board(DRIFT))
TO_PIPELINE: Final = link("Pipeline dashboard", board(PIPELINE))


def header() -> list[Builder[models.DashboardLink]]:
    """The links of each dashboard: the dashboards in a fixed order at the top, the others in the menu of controls."""
    return [
        *(_Visible(title).url(f"/d/{uid}").keep_time(True).include_vars(True) for uid, title in BOARDS.items()),
        _in_menu("Drift report", "The report closest to the end of this time range", REPORT_AT_END),
        _in_menu("Slow traces", "Requests over 50 ms in this time range", SLOW_TRACES),
        _in_menu("Strange traces", "Requests with three or more unusual features in this time range", STRANGE_TRACES),
        _in_menu("Drift runs", "Traces of drift runs, with links to the most unusual predictions", RUN_TRACES),
        _in_menu("Alerts", "Alerts and their rules", ALERT_PAGE),
    ]


class _Visible(builders.DashboardLink):
    """A link to a dashboard at the top; the SDK would put it into the menu of controls."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.type(models.DashboardLinkType.LINK)
        self.icon("dashboard")

    def build(self) -> models.DashboardLink:
        built = super().build()
        built.placement = None  # type: ignore[assignment]  # the encoder leaves it out
        return built


def _in_menu(title: str, tooltip: str, url: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(tooltip)
        .url(url)
        .target_blank(True)
    )
