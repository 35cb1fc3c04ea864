from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.known_metrics import ROOT
from tests.config.prometheus_tools import run_tool
from tests.config.promql import read_query
from tests.config.receivers import with_webhook
from tests.config.rule_tests import ALERTS

FOLDER = ROOT / "observability" / "alertmanager"
FILE = FOLDER / "alertmanager.yaml"
TEXT = FILE.read_text(encoding="utf-8")
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
CONSEQUENCES = ("DriftMonitorAbsent", "DriftMonitorStale", "ServiceTelemetryMissing")


def matches(matchers: list[str], alert: str) -> bool:
    """Whether an alert's labels meet all of Alertmanager's matchers, which are written as PromQL's are."""
    labels = {"alertname": alert, **ALERTS[alert]["labels"]}
    (selector,) = read_query(f"{{{', '.join(matchers)}}}").selectors
    return bool(selector.matchers) and all(
        labels.get(each.label, "") in each.value.split("|") for each in selector.matchers
    )


def test_alertmanager_takes_the_configuration() -> None:
    """`amtool` finds nothing wrong with it."""
    result = run_tool("amtool", FOLDER, "check-config", str(FILE))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_reaches_whom_it_is_for(name: str) -> None:
    """Each alert is routed to the receiver that its severity names."""
    labels = {"alertname": name, **ALERTS[name]["labels"]}
    told = [f"{label}={value}" for label, value in labels.items()]
    severity = labels["severity"]
    result = run_tool(
        "amtool", FOLDER, "config", "routes", "test", f"--config.file={FILE}", f"--verify.receivers={severity}", *told
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_alert_without_severity_is_not_lost() -> None:
    """Somebody else's alert, with labels that we do not know, is a ticket."""
    result = run_tool(
        "amtool", FOLDER, "config", "routes", "test", f"--config.file={FILE}", "--verify.receivers=ticket", "a=b"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_severities_have_receivers() -> None:
    """There is a receiver for each severity, and no other."""
    severities = {rule["labels"]["severity"] for rule in ALERTS.values()}
    assert {receiver["name"] for receiver in CONFIG["receivers"]} == severities == {"page", "ticket"}


def test_nothing_leaves_the_machine_unasked() -> None:
    """As shipped, no receiver sends anything anywhere."""
    assert all(set(receiver) == {"name"} for receiver in CONFIG["receivers"])


def test_pages_are_sent_sooner_and_more_often() -> None:
    """Someone who is called is called within seconds, and again within hours; a ticket waits for its cause."""
    (page,) = CONFIG["route"]["routes"]
    assert page["matchers"] == ['severity="page"']
    assert (page["group_wait"], page["repeat_interval"]) == ("10s", "1h")
    assert (CONFIG["route"]["group_wait"], CONFIG["route"]["repeat_interval"]) == ("30s", "24h")


def test_one_alert_is_one_message() -> None:
    """Both windows of an objective that burns, or two targets that are down, come as one."""
    assert CONFIG["route"]["group_by"] == ["alertname"]


def test_the_collectors_absence_is_said_once() -> None:
    """Where the Collector is down, what follows from that is silent, and nothing else is."""
    rule = CONFIG["inhibit_rules"][0]
    assert [name for name in sorted(ALERTS) if matches(rule["source_matchers"], name)] == ["CollectorDown"]
    assert tuple(name for name in sorted(ALERTS) if matches(rule["target_matchers"], name)) == CONSEQUENCES
    assert "equal" not in rule  # they share no label but would have to, were one named


def test_who_was_woken_for_a_budget_gets_no_ticket_for_it() -> None:
    """A page for an objective silences the ticket for the same objective only."""
    rule = CONFIG["inhibit_rules"][1]
    pages = {name for name, alert in ALERTS.items() if alert["labels"]["severity"] == "page"}
    assert {name for name in ALERTS if matches(rule["source_matchers"], name)} == pages
    assert [name for name in ALERTS if matches(rule["target_matchers"], name)] == ["ObjectiveBudgetSpent"]
    assert rule["equal"] == ["objective"]


def test_a_cause_is_known_before_its_consequences_are_sent() -> None:
    """The Collector's absence fires before what it silences, and lasts until that is back."""
    cause = ALERTS["CollectorDown"]
    assert cause["for"] == "30s"
    assert cause["keep_firing_for"] == "1m"
    assert {name: ALERTS[name]["for"] for name in CONSEQUENCES} == {
        "DriftMonitorAbsent": "2m",
        "DriftMonitorStale": "1m",
        "ServiceTelemetryMissing": "2m",
    }


def test_a_webhook_can_be_put_in(tmp_path: Path) -> None:
    """With a webhook in both receivers the configuration is still one that Alertmanager takes."""
    file = tmp_path / "alertmanager.yaml"
    file.write_text(with_webhook(TEXT, "http://sink:9095/"), encoding="utf-8")
    result = run_tool("amtool", tmp_path, "check-config", str(file))
    assert result.returncode == 0, result.stdout + result.stderr
    assert file.read_text(encoding="utf-8").count("http://sink:9095/") == len(CONFIG["receivers"])
