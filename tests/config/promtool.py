"""`promtool` and `amtool`, promtool tests written in Python, and what the promtool tests cover."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.config.series import ROOT, RULES, Query, known_series, label_values, load_yaml, rules_of

IMAGES: Final = {"promtool": "prom/prometheus:v3.16.0", "amtool": "prom/alertmanager:v0.31.1"}
TIMEOUT_S: Final = 240


TOOLS: Final = ROOT / ".pytest_cache" / "tools"


@functools.cache
def command(tool: str, folder: Path) -> tuple[str, ...]:
    """How to run `tool` on files in `folder`: from the path, or from an image that is present. Empty if not found."""
    if found := shutil.which(tool):
        return (found,)
    docker = shutil.which("docker")
    if docker is None:
        return ()
    image = IMAGES[tool]
    inspected = subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False, timeout=30)
    if inspected.returncode != 0:
        return ()
    if platform.system() == "Linux":
        return (str(_copied(docker, tool)),)
    user = f"--user={os.getuid()}:{os.getgid()}"  # the image's own user may not read a test's private folder
    mount = f"--volume={folder}:{folder}:ro"
    return (docker, "run", "--rm", "--network=none", user, mount, f"--entrypoint={tool}", image)


def _copied(docker: str, tool: str) -> Path:
    """The tool, copied once from its image: starting a container takes longer than most of the twenty runs."""
    image = IMAGES[tool]
    copy = TOOLS / f"{tool}-{image.partition(':')[2]}"
    if not copy.exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        container = _output(docker, "create", image).strip()
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")  # several test processes may copy it at once
        _output(docker, "cp", f"{container}:/bin/{tool}", str(partial))
        _output(docker, "rm", container)
        partial.replace(copy)
    return copy


def _output(*arguments: str) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout


def run_tool(tool: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tool` on files in `folder`; skip the test if it is not found."""
    called = command(tool, folder.resolve())
    if not called:
        pytest.skip(f"{tool} is not on the path, and the image {IMAGES[tool]} is not present")
    return subprocess.run([*called, *arguments], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


RULES_FOLDER = ROOT / "observability" / "prometheus" / "rules"


@dataclass(frozen=True)
class Case:
    """Input series in promtool's notation, and the expected result of an expression at a time."""

    name: str
    series: Mapping[str, str]
    interval: str
    expr: str
    at: str
    expected: Mapping[str, float]

    def as_test(self) -> dict[str, Any]:
        """In promtool's format."""
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
    """Run `cases` on `rules` (file name to text), evaluated every minute; writes the files to `folder`.

    `groups` are the rules' groups in the order of their dependencies.
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
    """The text of a rule file."""
    return (RULES_FOLDER / name).read_text(encoding="utf-8")


RULE_TESTS: Final = sorted((ROOT / "observability" / "prometheus" / "tests").glob("*.yaml"))
ALERTS: Final = {rule["alert"]: rule for path in RULES for rule in rules_of(path) if "alert" in rule}
RECORDED: Final = {rule["record"] for path in RULES for rule in rules_of(path) if "record" in rule}


@dataclass
class Shown:
    """Alerts that are expected to fire, and not to fire; recorded series that are expected to have a value."""

    firing: set[str]
    silent: set[str]
    recorded: set[str]


def shown() -> Shown:
    """What all promtool tests cover together."""
    result = Shown(set(), set(), set())
    for test in _tests():
        for case in test.get("alert_rule_test", []):
            (result.firing if case["exp_alerts"] else result.silent).add(case["alertname"])
        for case in test.get("promql_expr_test", []):
            _add(case, result)
    return result


def expressions(path: Path) -> Iterator[str]:
    """The expressions in a file of promtool tests."""
    for test in load_yaml(path.read_text(encoding="utf-8"))["tests"]:
        yield from (str(case["expr"]) for case in test.get("promql_expr_test", []))


def input_series(path: Path) -> Iterator[str]:
    """The input series in a file of promtool tests."""
    for test in load_yaml(path.read_text(encoding="utf-8"))["tests"]:
        yield from (str(each["series"]) for each in test.get("input_series", []))


def _tests() -> Iterator[dict[str, Any]]:
    for path in RULE_TESTS:
        yield from load_yaml(path.read_text(encoding="utf-8"))["tests"]


def _add(case: dict[str, Any], result: Shown) -> None:
    selectors = Query(str(case["expr"]), known_series()).selectors
    samples = case["exp_samples"]
    if samples:
        result.recorded |= {each.name for each in selectors if each.name} & RECORDED
        for sample in samples:
            result.firing |= set(re.findall(r'alertname="(\w+)", alertstate="firing"', sample["labels"]))
        return
    for selector in selectors:
        if selector.name == "ALERTS":
            result.silent |= set(label_values(selector, "alertname")) or set(ALERTS)


def with_webhook(text: str, url: str) -> str:
    """Alertmanager's configuration in `text`, with all receivers sending to `url`, also when an alert ends."""
    config = load_yaml(text)
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
    return yaml.safe_dump(config, sort_keys=False)
