from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from drift.telemetry.otel import UNKNOWN_KINDS
from leeway.telemetry import names
from observability.prometheus.generate.__main__ import FILE, render
from observability.prometheus.generate.rules import DASHBOARD_URL
from tests.config.known_metrics import OTHERS, ROOT, RULES, complaints, known_series, labels_left, our_series, rules_of
from tests.config.prometheus_tools import run_tool
from tests.config.promql import read_query
from tests.config.rule_tests import ALERTS, RECORDED, RULE_TESTS, expressions, input_series, shown

PROMETHEUS = ROOT / "observability" / "prometheus"
KNOWN = known_series()
SHOWN = shown()
OBJECTIVE_ALERTS = {"PredictionErrorsBurnBudget", "PredictionLatencyBurnsBudget", "BatchLatencyBurnsBudget"}
LOST_RECORDS = {"PredictionsUnrecorded", "SpoolNearLimit"}
DASHBOARDS = {DASHBOARD_URL.replace("service", name) for name in ("home", "service", "drift", "pipeline")}

RULE = pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rule, id=f"{path.stem}-{rule.get('record') or rule.get('alert')}-{place}")
        for path in RULES
        for place, rule in enumerate(rules_of(path))
    ],
)
ALERT = pytest.mark.parametrize("name", sorted(ALERTS))
RULE_TEST = pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)


@RULE
def test_a_rule_names_what_exists(rule: dict[str, str]) -> None:
    """Every metric, label, recorded series and bucket bound in a rule exists."""
    assert complaints(rule["expr"], KNOWN) == []


@RULE_TEST
def test_rule_tests_name_what_exists(path: Path) -> None:
    """A test that makes up a series or asks for one that does not exist would prove nothing."""
    texts = [*expressions(path), *input_series(path)]
    assert texts
    assert [complaint for text in texts for complaint in complaints(text, KNOWN)] == []


def test_prometheus_takes_the_rules() -> None:
    """`promtool` finds nothing wrong with the rules."""
    result = run_tool(
        "promtool", PROMETHEUS, "check", "rules", "--lint=all", "--lint-fatal", *(str(each) for each in RULES)
    )
    assert result.returncode == 0, result.stdout + result.stderr


@RULE_TEST
def test_rules_do_what_their_tests_say(path: Path) -> None:
    """Every case of the promtool tests holds."""
    result = run_tool("promtool", PROMETHEUS, "test", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


@ALERT
def test_an_alert_is_seen_to_fire(name: str) -> None:
    """Each alert has a test in which it fires."""
    assert name in SHOWN.firing


@ALERT
def test_an_alert_is_seen_not_to_fire(name: str) -> None:
    """Each alert has a test in which it does not."""
    assert name in SHOWN.silent


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_series_is_seen_to_have_a_value(name: str) -> None:
    """Each recording rule has a test of its value."""
    assert name in SHOWN.recorded


@ALERT
def test_an_alert_says_whom_it_is_for(name: str) -> None:
    """Objectives and lost records call someone out; the rest can wait for the morning."""
    pages = name in OBJECTIVE_ALERTS | LOST_RECORDS
    assert ALERTS[name]["labels"]["severity"] == ("page" if pages else "ticket")


@ALERT
def test_an_alert_says_what_to_do(name: str) -> None:
    """Each alert has a summary, a description, its dashboard, and its own section of the runbook."""
    annotations = ALERTS[name]["annotations"]
    assert set(annotations) == {"summary", "description", "dashboard", "runbook"}
    assert len(annotations["description"]) > len(annotations["summary"]) > 0
    assert annotations["dashboard"] in DASHBOARDS
    assert annotations["runbook"] == f"docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("rule", [rule for path in RULES for rule in rules_of(path) if "alert" in rule], ids=str)
def test_an_alert_speaks_of_labels_that_it_has(rule: dict[str, dict[str, str]]) -> None:
    """A text with `$labels.x` would say nothing where the alert has no label x."""
    has = labels_left(read_query(str(rule["expr"])), KNOWN) | set(rule["labels"])
    spoken = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert spoken <= has


def test_the_objectives_are_as_generated() -> None:
    """`objectives.yaml` is what `make rules` writes for its window, and nobody edited it."""
    text = FILE.read_text(encoding="utf-8")
    stated = re.search(r"make rules WINDOW=(\w+)", text)
    assert stated is not None
    assert text == render(stated[1])


def test_reasons_that_rules_name_are_told() -> None:
    """A reason for UNKNOWN that a rule asks for is one that the worker counts."""
    selectors = [each for path in RULES for rule in rules_of(path) for each in read_query(rule["expr"]).selectors]
    asked = {
        reason
        for each in selectors
        if each.metric == names.DRIFT_RUNS.prometheus_name
        for matcher in each.matchers
        if matcher.label == names.prometheus_label(names.ERROR_TYPE)
        for reason in matcher.value.split("|")
    }
    assert asked - {""}
    assert asked - {""} <= set(UNKNOWN_KINDS)


def test_prediction_drift_knows_the_buckets() -> None:
    """The bounds that prediction drift multiplies with are the score histogram's, spelled as in its `le`."""
    (rule,) = (
        rule
        for rule in rules_of(PROMETHEUS / "rules" / "prediction_drift.yaml")
        if rule["record"] == "leeway:score:bucket_bound"
    )
    found = re.findall(r'label_replace\(vector\(([\d.]+)\), "le", "([\d.]+)", "", ""\)', rule["expr"])
    assert [(float(value), text) for value, text in found] == [(bound, str(bound)) for bound in names.SCORE_BUCKETS]


def test_series_of_others_are_not_ours() -> None:
    """The list of other programs' series repeats none of ours, whose labels the code alone knows."""
    assert not set(OTHERS) & set(our_series())


def test_groups_have_names_of_their_own() -> None:
    """No two groups share a name: promtool orders them by it, and a failing one is told by it."""
    groups = [group["name"] for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    assert len(set(groups)) == len(groups)
