"""After minutes of traffic and outages: what boards show, who is told, and what it all costs."""

from __future__ import annotations

import json
import time

import pytest

from leeway.telemetry import names
from observability.grafana.generate import foreign
from tests.config.boards import Asked, asked
from tests.stack import backends
from tests.stack.composed import Stack, eventually
from tests.stack.load import Load

pytestmark = pytest.mark.stack

TRAFFIC_S = 300.0
VARIABLES = {"$model": ".*", "$window": "5m", "$__rate_interval": "20s", "$__interval": "15s", "$__range": "5m"}
"""What Grafana would put in for its variables."""
MAY_BE_EMPTY = {
    ("latency-drift", "Alerts", "no alerts"): "an alert fires by now",
    ("service", "Rejected items in this time range", "none rejected"): "the load holds bad input",
}
"""Questions without an answer here, by board, panel and legend; and why."""
SINCE = "1h"
"""Longer than these tests take: Prometheus began with them, and counters at 0."""
UNRECORDED = names.LOG_UNRECORDED.prometheus_name
LOSSES = (*foreign.REFUSED, *foreign.ENQUEUE_FAILED, *foreign.SEND_FAILED, UNRECORDED)
ALWAYS_THERE = (foreign.ACCEPTED_SPANS, foreign.SENT_SPANS, UNRECORDED)
"""The Collector's losses have no series before the first one; these show that both were asked."""


def posted(stack: Stack) -> list[dict[str, object]]:
    """What the sink was sent."""
    return [json.loads(line) for line in stack.logs("webhook").splitlines() if line.startswith("{")]


def test_an_alert_reaches_its_receiver(stack: Stack, load: Load) -> None:
    """A verdict that acts goes from the rule by Alertmanager to the receiver, with what a person needs to act on it."""
    assert load.sent

    def told() -> list[dict[str, object]]:
        alerts = [each for post in posted(stack) if isinstance(found := post.get("alerts"), list) for each in found]
        return [each for each in alerts if each["labels"]["alertname"] == "DriftVerdictActs"]

    (alert, *_) = eventually(told, 300, every_s=2)
    assert {"summary", "description", "dashboard", "runbook"} <= alert["annotations"].keys()  # type: ignore[attr-defined]


def test_a_changed_recommendation_calls_the_webhook(stack: Stack, load: Load) -> None:
    """The worker posts a CloudEvent when what it recommends changes."""
    assert load.sent
    assert eventually(lambda: [post for post in posted(stack) if post.get("specversion") == "1.0"], 120)


@pytest.mark.parametrize("asked", asked(), ids=str)
def test_a_board_has_something_to_show(load: Load, asked: Asked) -> None:
    """Prometheus reads every question of every board, and after minutes of traffic answers it."""
    assert load.sent
    query = asked.query
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    answered = bool(backends.query(query)) if asked.instant else backends.is_answered(query, over_s=TRAFFIC_S)
    assert answered or (asked.board, asked.panel, asked.legend) in MAY_BE_EMPTY


def test_memory_after_five_minutes_of_traffic(stack: Stack, load: Load, report: list[str]) -> None:
    """Every container stays within the memory that it is given, with a fifth to spare."""
    eventually(lambda: time.monotonic() - load.sent[0].due_s > TRAFFIC_S, TRAFFIC_S)
    used = stack.memory_mib()
    report.append("memory: " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in sorted(used.items())))
    limits = json.loads(stack.compose("config", "--format", "json"))["services"]
    given = {name: int(limits[name].get("mem_limit", 2**40)) / 2**20 for name in used}
    assert {name: mib for name, mib in used.items() if mib > 0.8 * given[name]} == {}


def highest(counter: str) -> str:
    """The most that a counter showed: restarts hide none of it, nor does a first value, which increase() would miss."""
    return f"max_over_time({counter}[{SINCE}])"


def test_nothing_was_dropped_on_the_way(load: Load) -> None:
    """Through all the outages the Collector refused and dropped nothing, and the service lost no prediction."""
    assert load.sent
    assert [each for each in ALWAYS_THERE if not backends.query(highest(each))] == []
    assert {each: backends.value(highest(each)) for each in LOSSES} == dict.fromkeys(LOSSES, 0.0)
