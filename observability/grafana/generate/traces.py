"""Tables of traces, from Grafana's Jaeger data source."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef

from observability.grafana.generate import links
from observability.grafana.generate.panels import COUNT

JAEGER: Final = DataSourceRef(type_val="jaeger", uid="${jaeger}")


class _Search(Dataquery, Builder[Dataquery]):
    """A search; the SDK has no queries of this data source."""

    def __init__(self, query: dict[str, Any]) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, Any]:
        return {"refId": "A", "datasource": JAEGER} | self._query


def slowest() -> table.Panel:
    """The slowest of the newest slow requests."""
    return _traces(
        "Slowest requests",
        "Of the newest 20 requests over 50 ms in this time range, the slowest first. Click a trace to open it.",
        links.SLOW_SEARCH,
        f"no request over {links.SLOW}",
        order="Duration",
    )


def strangest() -> table.Panel:
    """The newest requests with strange input."""
    return _traces(
        "Requests with strange input",
        "The newest 20 requests with three or more unusual features in this time range. Click a trace to open it; its"
        " root span names the features.",
        links.STRANGE_SEARCH,
        "no strange input",
        order="Start time",
    )


def _traces(title: str, description: str, search: dict[str, Any], absent: str, *, order: str) -> table.Panel:
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(JAEGER)
        .unit(COUNT)
        .targets([_Search(search)])
        .no_value(absent)
        .sort_by([common.TableSortByFieldState().display_name(order).desc(True)])
        .override_by_name("Trace ID", [models.DynamicConfigValue("custom.width", 130)])
        .override_by_name("Duration", [models.DynamicConfigValue("custom.width", 110)])
        .override_by_name("Start time", [models.DynamicConfigValue("custom.width", 170)])
    )
