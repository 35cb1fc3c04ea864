"""Links; each carries the time of the dashboard or of the clicked point."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names

HOME, SERVICE, DRIFT, PIPELINE = "leeway-home", "leeway-service", "leeway-drift", "leeway-pipeline"
TAG: Final = "leeway"
"""The tag of all dashboards, by which they link to each other."""

# As the browser reaches them: compose publishes these ports on this machine.
REPORTS: Final = "http://127.0.0.1:8001"
JAEGER: Final = "http://127.0.0.1:16686"
PROMETHEUS: Final = "http://127.0.0.1:9090"

# Resource names of the two processes, as Jaeger lists them.
API, WORKER = "leeway-service", "leeway-drift"


def jaeger_search(service: str, *, slower_than: str | None = None, tags: dict[str, str] | None = None) -> str:
    """A search over the dashboard's time range. Jaeger uses microseconds, Grafana milliseconds."""
    query = f"service={service}&lookback=custom&start=${{__from}}000&end=${{__to}}000&limit=20"
    if slower_than:
        query += f"&minDuration={slower_than}"
    if tags:
        query += "&tags=" + quote(json.dumps(tags, separators=(",", ":")), safe="")
    return f"{JAEGER}/search?{query}"


SLOW_TRACES: Final = jaeger_search(API, slower_than="50ms")
STRANGE_TRACES: Final = jaeger_search(API, tags={names.TYPICALITY: "strange"})
FAILED_TRACES: Final = jaeger_search(API, tags={"error": "true"})
RUN_TRACES: Final = jaeger_search(WORKER)
REPORT_AT_POINT: Final = f"{REPORTS}/at?time=${{__value.time}}"
REPORT_AT_END: Final = f"{REPORTS}/at?time=${{__to}}"
ALERT_PAGE: Final = f"{PROMETHEUS}/alerts"


def board(uid: str) -> str:
    """Another dashboard, with the same time range and variables."""
    return f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"


def link(title: str, url: str) -> builders.DashboardLink:
    """A link from a panel or one of its points."""
    return builders.DashboardLink(title).url(url).target_blank(not url.startswith("/"))


TO_SLOW: Final = link("Slow requests in this time range (Jaeger)", SLOW_TRACES)
TO_STRANGE: Final = link("Strange inputs in this time range (Jaeger)", STRANGE_TRACES)
TO_FAILED: Final = link("Failed requests in this time range (Jaeger)", FAILED_TRACES)
TO_RUNS: Final = link("Drift runs in this time range (Jaeger)", RUN_TRACES)
TO_REPORT: Final = link("Drift report at this time", REPORT_AT_POINT)
TO_LAST_REPORT: Final = link("Drift report at the end of this time range", REPORT_AT_END)
TO_ALERTS: Final = link("Alerts in Prometheus", ALERT_PAGE)
TO_SERVICE: Final = link("Service dashboard", board(SERVICE))
TO_DRIFT: Final = link("Drift dashboard", board(DRIFT))
TO_PIPELINE: Final = link("Pipeline dashboard", board(PIPELINE))


def header() -> list[Builder[models.DashboardLink]]:
    """The links at the top of each dashboard: the other dashboards, then the pages of reports, traces and alerts."""
    boards = (
        builders.DashboardLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
    )
    return [
        boards,
        _outside("Drift report", "The report closest to the end of this time range", REPORT_AT_END),
        _outside("Slow traces", "Requests over 50 ms in this time range", SLOW_TRACES),
        _outside("Strange traces", "Requests with three or more unusual features in this time range", STRANGE_TRACES),
        _outside("Drift runs", "Traces of drift runs, with links to the most unusual predictions", RUN_TRACES),
        _outside("Alerts", "Alerts and their rules in Prometheus", ALERT_PAGE),
    ]


def _outside(title: str, tooltip: str, url: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(tooltip)
        .url(url)
        .target_blank(True)
    )
