"""Promtool tests written by Python, where what is fed in or expected comes from our own code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.config.known_metrics import ROOT
from tests.config.prometheus_tools import run_tool

RULES_FOLDER = ROOT / "observability" / "prometheus" / "rules"


@dataclass(frozen=True)
class Case:
    """Series with their values in promtool's notation, and what an expression must give at a time."""

    name: str
    series: Mapping[str, str]
    interval: str
    expr: str
    at: str
    expected: Mapping[str, float]

    def as_test(self) -> dict[str, Any]:
        """As promtool reads it."""
        samples = [{"labels": labels, "value": value} for labels, value in self.expected.items()]
        return {
            "name": self.name,
            "interval": self.interval,
            "input_series": [{"series": series, "values": values} for series, values in self.series.items()],
            "promql_expr_test": [{"expr": self.expr, "eval_time": self.at, "exp_samples": samples}],
        }


def run_cases(
    folder: Path, cases: Sequence[Case], rules: Mapping[str, str], groups: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run `cases` every minute on `rules`, file name to text; `folder` is written to.

    `groups` are the rules' groups, in the order in which they build on each other.
    """
    for name, text in rules.items():
        (folder / name).write_text(text, encoding="utf-8")
    document = {
        "rule_files": list(rules),
        "evaluation_interval": "1m",
        "group_eval_order": list(groups),
        "tests": [case.as_test() for case in cases],
    }
    file = folder / "cases.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return run_tool("promtool", folder, "test", "rules", str(file))


def rule_text(name: str) -> str:
    """The text of one of our rule files."""
    return (RULES_FOLDER / name).read_text(encoding="utf-8")
