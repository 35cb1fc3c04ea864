"""The PromQL of rules, promtool tests, dashboards, data sources and the runbook names what exists."""

from __future__ import annotations

import re

import pytest

from tests.config.boards import ALL_BOARDS, BOARDS, panels, queries, source
from tests.config.promtool import RULE_TESTS, expressions, input_series
from tests.config.series import ROOT, RULES, Query, complaints, known_series, rules_of


def of_the_runbook() -> list[str]:
    """The queries in the runbook."""
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def of_spans() -> list[str]:
    """The queries that lead from a span to metrics, with the span's tags filled in."""
    settings = source("leeway-jaeger")["jsonData"]["tracesToMetrics"]
    tags = ", ".join(f'{tag["value"]}="x"' for tag in settings["tags"])
    return [each["query"].replace("$__tags", tags) for each in settings["queries"]]


QUERIES = {
    **{f"rules, {path.stem}": [rule["expr"] for rule in rules_of(path)] for path in RULES},
    **{f"promtool tests, {path.stem}": [*expressions(path), *input_series(path)] for path in RULE_TESTS},
    **{f"dashboard, {name}": queries(board) for name, board in ALL_BOARDS.items()},
    "runbook": of_the_runbook(),
    "spans": of_spans(),
}


@pytest.mark.parametrize("place", QUERIES)
def test_queries_name_what_exists(place: str) -> None:
    """Each query is valid PromQL, and each metric, label and bucket bound in it exists."""
    assert QUERIES[place]
    assert {query: wrong for query in QUERIES[place] if (wrong := complaints(query))} == {}


@pytest.mark.parametrize(("name", "board"), BOARDS.items())
def test_every_panel_has_its_queries_checked(name: str, board: dict[str, object]) -> None:
    """The queries of a dashboard include those of its panels, variables and annotations."""
    assert len(QUERIES[f"dashboard, {name}"]) > len(panels(board))


@pytest.mark.parametrize("text", ["sum(a", "a)", "a{b}]", "a{b=}", "a ; b", "by (x) a", "rates(a[5m])"])
def test_invalid_promql_is_an_error(text: str) -> None:
    """A text that is not PromQL is an error."""
    with pytest.raises(ValueError):  # noqa: PT011 (the parser has no class of its own)
        complaints(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("leeway_drift_shares", "unknown metric leeway_drift_shares"),
        ("leeway:predictions:rate2m", "unknown metric leeway:predictions:rate2m"),
        ('{__name__=~"leeway_nothing_.*"}', 'unknown metric {__name__=~"leeway_nothing_.*"}'),
        ('leeway_drift_share{feature="x"}', "leeway_drift_share has no label feature"),
        ("sum by (http_route) (leeway_drift_share)", "by (http_route): no series has this label"),
        ("up * on (http_route) leeway_drift_share", "on (http_route): no series has this label"),
        ('leeway:predictions:rate1m{instance="a"}', "leeway:predictions:rate1m has no label instance"),
        (
            'http_server_request_duration_seconds_bucket{le="1"}',
            "http_server_request_duration_seconds_bucket has no bucket 1",
        ),
    ],
)
def test_unknown_names_are_reported(text: str, complaint: str) -> None:
    """A metric, label or bucket bound that does not exist is reported."""
    assert complaints(text) == [complaint]


@pytest.mark.parametrize(
    "text",
    [
        "sum by (http_route) (rate(http_server_request_duration_seconds_count[$window]))",
        'histogram_quantile(0.95, sum by (le) (rate(leeway_prediction_duration_seconds_bucket{error_type=""}[5m])))',
        'http_server_request_duration_seconds_bucket{le="1.0"}',
        'sum by (kind) (label_replace(up, "kind", "$1", "job", "(.*)"))',
        '{__name__=~"otelcol_exporter_send_failed_(spans|metric_points)_total", exporter="prometheus"}',
        "leeway_drift_feature_score / on (leeway_feature_name) leeway_drift_feature_threshold",
    ],
)
def test_known_names_are_accepted(text: str) -> None:
    """A query that names what exists has no complaints."""
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("sum(up)", set()),
        ("sum by (job) (up) > 0", {"job"}),
        ("sum without (job) (up)", {"instance"}),
        ("up == 0", {"job", "instance"}),
        ("topk(3, up)", {"job", "instance"}),
        ("up / on (job) up", {"job"}),
        ('label_replace(vector(1), "le", "1.0", "", "")', {"le"}),
    ],
)
def test_labels_of_the_result(text: str, labels: set[str]) -> None:
    """The labels of a query's result are known, so that rules and annotations can be checked."""
    assert Query(text, known_series()).labels == labels
