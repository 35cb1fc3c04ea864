"""Which alerts and recorded series the promtool tests show: where they fire or have a value, and where not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.config.known_metrics import ROOT, RULES, rules_of
from tests.config.promql import read_query

RULE_TESTS: Final = sorted((ROOT / "observability" / "prometheus" / "tests").glob("*.yaml"))
ALERTS: Final = {rule["alert"]: rule for path in RULES for rule in rules_of(path) if "alert" in rule}
RECORDED: Final = {rule["record"] for path in RULES for rule in rules_of(path) if "record" in rule}


@dataclass
class Shown:
    """Alerts that are expected to fire, and not to; recorded series that are expected to have a value."""

    firing: set[str]
    silent: set[str]
    recorded: set[str]


def shown() -> Shown:
    """What all promtool tests show together."""
    result = Shown(set(), set(), set())
    for test in _tests():
        for case in test.get("alert_rule_test", []):
            (result.firing if case["exp_alerts"] else result.silent).add(case["alertname"])
        for case in test.get("promql_expr_test", []):
            _add(case, result)
    return result


def expressions(path: Path) -> Iterator[str]:
    """Every expression of a file of promtool tests."""
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
        yield from (str(case["expr"]) for case in test.get("promql_expr_test", []))


def input_series(path: Path) -> Iterator[str]:
    """Every series that a file of promtool tests makes up."""
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
        yield from (str(each["series"]) for each in test.get("input_series", []))


def _tests() -> Iterator[dict[str, Any]]:
    for path in RULE_TESTS:
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]


def _add(case: dict[str, Any], result: Shown) -> None:
    query = read_query(str(case["expr"]))
    samples = case["exp_samples"]
    if samples:
        result.recorded |= query.metrics & RECORDED
        for sample in samples:
            result.firing |= set(re.findall(r'alertname="(\w+)", alertstate="firing"', sample["labels"]))
        return
    for selector in query.selectors:
        if selector.metric == "ALERTS":
            wanted = [each for each in selector.matchers if each.label == "alertname"]
            result.silent |= {name for name in ALERTS if all(re.fullmatch(each.value, name) for each in wanted)}
