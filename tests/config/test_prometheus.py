from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import Any

import yaml

from observability.prometheus.generate.budgets import BUDGETS
from tests.config.known_metrics import ROOT, RULES
from tests.config.prometheus_tools import run_tool
from tests.config.rule_tests import RULE_TESTS

FOLDER = ROOT / "observability" / "prometheus"
CONFIG: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
JOBS = {job["job_name"]: job for job in CONFIG["scrape_configs"]}
DAY_S = 86_400


def test_prometheus_takes_the_configuration() -> None:
    """`promtool` finds nothing wrong with it."""
    result = run_tool(
        "promtool", FOLDER, "check", "config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yaml")
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_part_is_scraped() -> None:
    """Applications, Collector, Prometheus itself, Jaeger, and Alertmanager where it runs."""
    assert set(JOBS) == {"applications", "otel-collector", "prometheus", "jaeger", "alertmanager"}


def test_scrapes_come_as_often_as_exports() -> None:
    """Every job is scraped every five seconds, as often as the applications export."""
    assert CONFIG["global"]["scrape_interval"] == "5s"
    assert [name for name, job in JOBS.items() if "scrape_interval" in job] == []


def test_applications_keep_their_own_names() -> None:
    """`job` and `instance` of the applications are theirs, and nobody else may choose its own."""
    assert [name for name, job in JOBS.items() if job.get("honor_labels")] == ["applications"]


def test_an_absent_alertmanager_is_no_failing_target() -> None:
    """Alertmanager is looked up by name, for alerts and as a target: where it does not run there is nothing to fail."""
    (manager,) = CONFIG["alerting"]["alertmanagers"]
    assert set(manager) == {"dns_sd_configs"}
    assert JOBS["alertmanager"].keys() == {"job_name", "dns_sd_configs"}
    assert manager["dns_sd_configs"] == JOBS["alertmanager"]["dns_sd_configs"]


def test_retention_covers_every_budget() -> None:
    """What an objective looks back on is still there, over a day and over 30 days."""
    kept = re.fullmatch(r"(\d+)d", CONFIG["storage"]["tsdb"]["retention"]["time"])
    assert kept is not None
    assert int(kept[1]) * DAY_S > max(budget.seconds for budget in BUDGETS.values())


def test_rules_are_loaded_and_their_tests_are_not() -> None:
    """All rule files are named, and no promtool test is taken for one."""
    loaded = [
        path
        for path in [*RULES, *RULE_TESTS]
        if any(fnmatch(path.relative_to(FOLDER).as_posix(), pattern) for pattern in CONFIG["rule_files"])
    ]
    assert loaded == RULES
    assert len(RULE_TESTS) >= len(RULES)
