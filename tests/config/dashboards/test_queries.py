from __future__ import annotations

import re
from typing import Final

import pytest

from leeway.telemetry import names
from observability.grafana.generate.queries import Recorded
from tests.config.boards import BOARDS, Document, panels, queries, values_of
from tests.config.dashboards.provisioned import EACH_BOARD, source
from tests.config.known_metrics import RULES, complaints, known_series, rules_of

JAEGERS_OWN: Final = {
    # Jaeger 2.13.0, of itself: it is built on the Collector, and names the same things with unit and `_total`.
    "otelcol_exporter_sent_spans_total": {"job", "instance", "exporter"},
    "otelcol_exporter_send_failed_spans_total": {"job", "instance", "exporter"},
    "otelcol_process_memory_rss_bytes": {"job", "instance"},
}

TRACES_TO_METRICS: Final[Document] = source("leeway-jaeger")["jsonData"]["tracesToMetrics"]
SPAN_QUERIES: Final = {each["name"]: each["query"] for each in TRACES_TO_METRICS["queries"]}


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
