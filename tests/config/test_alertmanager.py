from __future__ import annotations

from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from tests.config.promtool import ALERTS, run_tool, with_webhook
from tests.config.series import ROOT

FOLDER = ROOT / "observability" / "alertmanager"
FILE = FOLDER / "alertmanager.yaml"
TEXT = FILE.read_text(encoding="utf-8")
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
CONSEQUENCES = ("DriftMonitorAbsent", "DriftMonitorStale", "ServiceTelemetryMissing")


def matches(matchers: list[str], alert: str) -> bool:
    """Whether an alert's labels meet all of Alertmanager's matchers, which have PromQL's syntax."""
    labels = {"alertname": alert, **ALERTS[alert]["labels"]}
    selector = promql.VectorSelector.parse(f"{{{', '.join(matchers)}}}")
    found = selector.matchers.matchers
    return bool(found) and all(labels.get(each.name, "") in each.value.split("|") for each in found)


def test_alertmanager_accepts_its_configuration() -> None:
    """`amtool check-config` finds no problem."""
    result = run_tool("amtool", FOLDER, "check-config", str(FILE))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_alerts_are_routed_by_severity(name: str) -> None:
    """Each alert is routed to the receiver of its severity."""
    labels = {"alertname": name, **ALERTS[name]["labels"]}
    arguments = [f"{label}={value}" for label, value in labels.items()]
    severity = labels["severity"]
    result = run_tool(
        "amtool",
        FOLDER,
        "config",
        "routes",
        "test",
        f"--config.file={FILE}",
        f"--verify.receivers={severity}",
        *arguments,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_other_alerts_are_tickets() -> None:
    """An alert without severity is a ticket."""
    result = run_tool(
        "amtool", FOLDER, "config", "routes", "test", f"--config.file={FILE}", "--verify.receivers=ticket", "a=b"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_severities_have_receivers() -> None:
    """There is exactly one receiver per severity."""
    severities = {rule["labels"]["severity"] for rule in ALERTS.values()}
    assert {receiver["name"] for receiver in CONFIG["receivers"]} == severities == {"page", "ticket"}


def test_nothing_is_sent_by_default() -> None:
    """By default no receiver sends anything."""
    assert all(set(receiver) == {"name"} for receiver in CONFIG["receivers"])


def test_pages_are_sent_sooner_and_more_often() -> None:
    """A page is sent within seconds and repeated hourly; a ticket waits for its cause."""
    (page,) = CONFIG["route"]["routes"]
    assert page["matchers"] == ['severity="page"']
    assert (page["group_wait"], page["repeat_interval"]) == ("10s", "1h")
    assert (CONFIG["route"]["group_wait"], CONFIG["route"]["repeat_interval"]) == ("30s", "24h")


def test_one_alert_is_one_message() -> None:
    """Both windows of an objective, or two targets that are down, are one message."""
    assert CONFIG["route"]["group_by"] == ["alertname"]


def test_a_collector_outage_is_one_message() -> None:
    """While the Collector is down, only the alerts that follow from it are inhibited."""
    rule = CONFIG["inhibit_rules"][0]
    assert [name for name in sorted(ALERTS) if matches(rule["source_matchers"], name)] == ["CollectorDown"]
    assert tuple(name for name in sorted(ALERTS) if matches(rule["target_matchers"], name)) == CONSEQUENCES
    assert "equal" not in rule  # they have no common label


def test_a_page_inhibits_the_ticket_of_its_budget() -> None:
    """A page for an objective inhibits only the ticket for the same objective."""
    rule = CONFIG["inhibit_rules"][1]
    pages = {name for name, alert in ALERTS.items() if alert["labels"]["severity"] == "page"}
    assert {name for name in ALERTS if matches(rule["source_matchers"], name)} == pages
    assert [name for name in ALERTS if matches(rule["target_matchers"], name)] == ["ObjectiveBudgetSpent"]
    assert rule["equal"] == ["objective"]


def test_the_cause_fires_before_its_consequences() -> None:
    """CollectorDown fires before the alerts that it inhibits, and ends after them."""
    cause = ALERTS["CollectorDown"]
    assert cause["for"] == "30s"
    assert cause["keep_firing_for"] == "1m"
    assert {name: ALERTS[name]["for"] for name in CONSEQUENCES} == {
        "DriftMonitorAbsent": "2m",
        "DriftMonitorStale": "1m",
        "ServiceTelemetryMissing": "2m",
    }


def test_a_webhook_can_be_added(tmp_path: Path) -> None:
    """With a webhook in both receivers, the configuration is valid."""
    file = tmp_path / "alertmanager.yaml"
    file.write_text(with_webhook(TEXT, "http://sink:9095/"), encoding="utf-8")
    result = run_tool("amtool", tmp_path, "check-config", str(file))
    assert result.returncode == 0, result.stdout + result.stderr
    assert file.read_text(encoding="utf-8").count("http://sink:9095/") == len(CONFIG["receivers"])
