"""After minutes of traffic and outages: dashboards, notifications and resources."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from benchmarks.live import backends
from benchmarks.live.load import Load
from benchmarks.live.memory import MemorySample, grown, growth, in_words, sampled
from benchmarks.live.stack import Stack, eventually
from benchmarks.soak import firing
from leeway.telemetry import names
from observability.grafana.generate import foreign
from tests.config.boards import Asked, asked

pytestmark = pytest.mark.stack

TRAFFIC_S = 300.0
SETTLES_S, WATCHED_S = 60.0, 120.0
"""How long containers fill their memory after their restarts, and how long it is then watched."""
VARIABLES = {
    "$model": ".*",
    "$instance": ".*",
    "$window": "5m",
    "$__rate_interval": "20s",
    "$__interval": "15s",
    "$__range": "5m",
}
"""Values for Grafana's variables."""
MAY_BE_EMPTY = {
    ("latency-drift", "Alerts", "no alerts"): "an alert fires by now",
    ("service", "Requests by API key", "{{leeway_api_key_name}}"): "the stack needs no keys",
    (
        "service",
        "Requests without a valid API key",
        "{{leeway_api_key_outcome}} {{leeway_api_key_name}}",
    ): "as above",
    ("drift", "Drift share by segment, last run", "{{leeway_drift_segment}}"): "the stack compares no segments",
    ("drift", "Drift share by segment, over time", "{{leeway_drift_segment}}"): "as above",
}
"""Queries that may have no result here, by dashboard, panel and legend, with the reason."""
MUST_FIRE = {"DriftVerdictActs", "PredictionErrorsBurnBudget"}
MAY_FIRE = {"ObjectiveBudgetSpent", "PredictionLatencyBurnsBudget", "BatchLatencyBurnsBudget"}
"""The errors spend the budget of a day that has only minutes of traffic; a busy machine is as slow as the fault."""
SINCE = "1h"
"""Longer than these tests: Prometheus starts with them, and counters start at 0."""
UNRECORDED = names.LOG_UNRECORDED.prometheus_name
LOSSES = (*foreign.REFUSED, *foreign.ENQUEUE_FAILED, *foreign.SEND_FAILED, UNRECORDED)
ALWAYS_THERE = (foreign.ACCEPTED_SPANS, foreign.SENT_SPANS, UNRECORDED)
"""The Collector's counters of losses have no series before the first loss; these prove that it is scraped."""


@pytest.fixture(scope="module", autouse=True)
def memory(stack: Stack, load: Load) -> Iterator[list[MemorySample]]:
    """Samples from the end of the outages on, while the other tests of this module run."""
    assert load.sent
    with sampled(stack.memory_mib) as samples:
        yield samples


def posted(stack: Stack) -> list[dict[str, object]]:
    """The posts to the webhook."""
    return [json.loads(line) for line in stack.logs("webhook").splitlines() if line.startswith("{")]


def test_an_alert_reaches_its_receiver(stack: Stack, load: Load) -> None:
    """An alert for a verdict reaches the receiver through Alertmanager, with its annotations."""
    assert load.sent

    def alerts_posted() -> list[dict[str, object]]:
        alerts = [each for post in posted(stack) if isinstance(found := post.get("alerts"), list) for each in found]
        return [each for each in alerts if each["labels"]["alertname"] == "DriftVerdictActs"]

    (alert, *_) = eventually(alerts_posted, 300, every_s=2)
    assert {"summary", "description", "dashboard", "runbook_url"} <= alert["annotations"].keys()  # type: ignore[attr-defined]


def test_the_right_alerts_fire(load: Load, report: list[str]) -> None:
    """Alerts that should fire after the soak do, and no other: not for restarts, and not for short outages."""
    eventually(lambda: firing(time.monotonic() - load.sent[0].due_s) >= MUST_FIRE, 120)
    fired = firing(time.monotonic() - load.sent[0].due_s)
    report.append(f"alerts that fired: {', '.join(sorted(fired))}")
    assert fired <= MUST_FIRE | MAY_FIRE


def test_a_changed_recommendation_calls_the_webhook(stack: Stack, load: Load) -> None:
    """The worker posts a CloudEvent when its recommendation changes."""
    assert load.sent
    assert eventually(lambda: [post for post in posted(stack) if post.get("specversion") == "1.0"], 120)


@pytest.mark.parametrize("asked", asked(), ids=str)
def test_panels_have_data(load: Load, asked: Asked) -> None:
    """After minutes of traffic, each query of each dashboard is valid and returns data."""
    assert load.sent
    query = asked.query
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    answered = bool(backends.query(query)) if asked.instant else backends.is_answered(query, over_s=TRAFFIC_S)
    assert answered or (asked.board, asked.panel, asked.legend) in MAY_BE_EMPTY


def test_memory_after_five_minutes_of_traffic(stack: Stack, load: Load, report: list[str]) -> None:
    """Each container uses at most 80 % of its memory limit."""
    eventually(lambda: time.monotonic() - load.sent[0].due_s > TRAFFIC_S, TRAFFIC_S)
    used = stack.memory_mib()
    report.append("memory: " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in sorted(used.items())))
    limits = json.loads(stack.compose("config", "--format", "json"))["services"]
    given = {name: int(limits[name].get("mem_limit", 2**40)) / 2**20 for name in used}
    assert {name: mib for name, mib in used.items() if mib > 0.8 * given[name]} == {}


def highest(counter: str) -> str:
    """The maximum of a counter: unlike increase(), it includes the first value, and restarts do not hide it."""
    return f"max_over_time({counter}[{SINCE}])"


def test_no_telemetry_was_lost(load: Load) -> None:
    """During all outages the Collector refused and dropped nothing, and the service lost no prediction."""
    assert load.sent
    assert [each for each in ALWAYS_THERE if not backends.query(highest(each))] == []
    assert {each: backends.value(highest(each)) for each in LOSSES} == dict.fromkeys(LOSSES, 0.0)


def test_memory_does_not_grow(memory: list[MemorySample], report: list[str]) -> None:
    """Once its start is over, no container's memory grows by more than a tenth, as in `python -m benchmarks.soak`."""
    watched_s = SETTLES_S + WATCHED_S
    eventually(lambda: memory and memory[-1].at_s - memory[0].at_s >= watched_s, watched_s + 60)
    found = growth([each for each in memory if each.at_s - memory[0].at_s >= SETTLES_S])
    report.append(f"memory of the last minutes, MiB: {in_words(found)}")
    assert grown(found) == []
