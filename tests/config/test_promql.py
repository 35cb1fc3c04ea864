from __future__ import annotations

import pytest

from tests.config.known_metrics import complaints, known_series, labels_left
from tests.config.promql import LabelList, Matcher, PromQLError, Selector, read_query

KNOWN = known_series()


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        ("up", {"up"}),
        ("sum(rate(a_total[5m])) / sum(rate(b_total[5m] offset 1h))", {"a_total", "b_total"}),
        ("sum by (x) (a) and on (x) b unless ignoring (y) c or d", {"a", "b", "c", "d"}),
        ("a * on (x) group_left b", {"a", "b"}),
        ("leeway:predictions:rate1m > bool 0.5e3", {"leeway:predictions:rate1m"}),
        ("max_over_time(rate(a[5m])[1h:30s] @ end()) - Inf + NaN # up", {"a"}),
        ('rate(a{b="{up}", c=~"(x|y)[0-9]+"}[$__rate_interval])', {"a"}),
        ("a{model=~'$model'}[${window}]", {"a"}),
        ('{"a.name", b="c"}', {"a.name"}),
        ('label_replace(a, "up", "$1", "x", "(.*)")', {"a"}),
        ("time() - 1h30m", set()),
    ],
)
def test_metrics_are_found(text: str, metrics: set[str]) -> None:
    """Every metric that is selected is found, and no function, keyword, label or text is taken for one."""
    assert read_query(text).metrics == metrics


def test_matchers_are_found() -> None:
    """A selector's matchers come with label, operator and value."""
    query = read_query('a{b="1", c!~"x.*",}')
    assert query.selectors == (Selector("a", (Matcher("b", "=", "1"), Matcher("c", "!~", "x.*"))),)


@pytest.mark.parametrize("text", ["sum by (x) (a) + b", "sum(a) by (x) + b"])
def test_an_aggregation_knows_its_operand(text: str) -> None:
    """Labels that are aggregated by belong to what is aggregated, wherever the list stands."""
    assert read_query(text).label_lists == (LabelList("by", ("x",), (Selector("a"),)),)


@pytest.mark.parametrize("text", ["sum(a", "a)", "a{b}]", "a{b=}", "a ; b", "by (x) a"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    """A text that is no PromQL is refused, not half understood."""
    with pytest.raises(PromQLError):
        read_query(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("leeway_drift_shares", "no metric is called leeway_drift_shares"),
        ("leeway:predictions:rate2m", "no metric is called leeway:predictions:rate2m"),
        ('{__name__=~"leeway_nothing_.*"}', "no metric is called None"),
        ('leeway_drift_share{feature="x"}', "leeway_drift_share has no label feature"),
        ("sum by (http_route) (leeway_drift_share)", "by (http_route): nothing there has it"),
        ("up * on (http_route) leeway_drift_share", "on (http_route): nothing there has it"),
        ('leeway:predictions:rate1m{instance="a"}', "leeway:predictions:rate1m has no label instance"),
        (
            'http_server_request_duration_seconds_bucket{le="1"}',
            "http_server_request_duration_seconds_bucket has no bucket le='1'",
        ),
    ],
)
def test_unknown_names_are_told(text: str, complaint: str) -> None:
    """A metric, a label or a bucket that does not exist is named."""
    assert complaints(text, KNOWN) == [complaint]


@pytest.mark.parametrize(
    "text",
    [
        "sum by (http_route) (rate(http_server_request_duration_seconds_count[$window]))",
        'histogram_quantile(0.95, sum by (le) (rate(leeway_prediction_duration_seconds_bucket{error_type=""}[5m])))',
        'http_server_request_duration_seconds_bucket{le="1.0"}',
        'sum by (kind) (label_replace(up, "kind", "$1", "job", "(.*)"))',
        '{__name__=~"otelcol_exporter_send_failed_(spans|metric_points)", exporter="prometheus"}',
        "leeway_drift_feature_score / on (leeway_feature_name) leeway_drift_feature_threshold",
    ],
)
def test_known_names_pass(text: str) -> None:
    """What exists is not complained of."""
    assert complaints(text, KNOWN) == []


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("sum(up)", set()),
        ("sum by (job) (up) > 0", {"job"}),
        ("up == 0", {"job", "instance"}),
        ('label_replace(vector(1), "le", "1.0", "", "")', {"le"}),
    ],
)
def test_labels_that_are_left(text: str, labels: set[str]) -> None:
    """A recorded series has the labels that its expression leaves, so that a rule can be held to them."""
    assert labels_left(read_query(text), {}) == labels
