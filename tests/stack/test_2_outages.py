"""Outages during constant traffic: requests are answered, and no answered prediction is lost."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from leeway.telemetry import names
from tests.stack import backends
from tests.stack.composed import DRIFT_INTERVAL_S, REPORTS, Stack, eventually, get
from tests.stack.load import TIMEOUT_S, Load, Sent, p95_s

pytestmark = pytest.mark.stack

BEFORE_S, DURING_S = 10.0, 15.0
WORST_RATIO = 5.0
"""Maximum of p95 during an outage ÷ p95 before it; generous, because machines are noisy."""


@dataclass
class Outage:
    """An outage in monotonic seconds, and the requests during it; from `killed_s` to `restarted_s` nothing runs."""

    began_s: float
    killed_s: float = 0.0
    restarted_s: float = 0.0
    over_s: float = 0.0
    requests: list[Sent] = field(default_factory=list)
    before: list[Sent] = field(default_factory=list)

    @property
    def failed(self) -> list[Sent]:
        """The failed requests."""
        return [each for each in self.requests if each.failed]

    @property
    def slowdown(self) -> float:
        """p95 during the outage ÷ p95 before it."""
        return p95_s(self.requests) / p95_s(self.before)


Breaks = Callable[..., AbstractContextManager[Outage]]


@pytest.fixture
def broken(stack: Stack, load: Load, report: list[str]) -> Breaks:
    """Kill a service and start it again after a while; then the outage has the requests sent during it."""

    @contextmanager
    def kill(service: str, lasting_s: float = DURING_S) -> Iterator[Outage]:
        time.sleep(BEFORE_S)
        outage = Outage(time.monotonic())
        stack.kill(service)
        outage.killed_s = time.monotonic()
        try:
            yield outage
            time.sleep(max(0.0, outage.began_s + lasting_s - time.monotonic()))
        finally:
            outage.restarted_s = time.monotonic()
            stack.start(service)
        outage.over_s = time.monotonic()
        time.sleep(TIMEOUT_S / 2)  # let requests in flight finish
        outage.requests = load.between(outage.began_s, outage.over_s)
        outage.before = load.between(outage.began_s - BEFORE_S, outage.began_s)
        report.append(_line(f"{service} away {outage.over_s - outage.began_s:.0f} s", outage))

    return kill


def _line(what: str, outage: Outage) -> str:
    slowest_s = max(each.latency_s for each in outage.requests)
    slowdown = f", p95 {outage.slowdown:.1f} times that before" if outage.before else ""
    failed = dict(Counter((each.kind, each.status) for each in outage.failed)) or ""
    sent = f"{len(outage.requests)} sent, {len(outage.failed)} failed {failed}"
    return f"outage: {what}: {sent}, slowest {slowest_s:.2f} s{slowdown}"


def recorded(stack: Stack) -> list[str]:
    """All prediction ids in the database."""
    return stack.sql("SELECT prediction_id FROM predictions")


def all_recorded_once(stack: Stack, answered: Sequence[str], report: list[str]) -> None:
    """Wait until all answered predictions are in the database, and that none is stored twice."""
    wanted = set(answered)
    eventually(lambda: wanted <= set(recorded(stack)), 90)
    ids = recorded(stack)
    report.append(f"        {len(wanted)} predictions answered so far, {len(wanted & set(ids))} of them recorded")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("service", ["otel-collector", "jaeger", "prometheus", "drift"])
def test_requests_are_unaffected(broken: Breaks, service: str) -> None:
    """While a monitoring component is down, all requests are answered, about as fast as before."""
    with broken(service) as outage:
        pass
    assert len(outage.requests) > 100
    assert outage.failed == []
    assert outage.slowdown < WORST_RATIO


def test_traces_of_jaegers_outage_arrive_later(broken: Breaks, load: Load) -> None:
    """The Collector queues traces while Jaeger is down."""
    with broken("jaeger") as outage:
        time.sleep(8)
        middle_s = time.monotonic()
    asked = [each for each in load.between(outage.began_s + 3, middle_s, "features") if each.trace_id]
    assert asked
    for each in asked[:5]:
        assert eventually(partial(backends.spans, str(each.trace_id)), 60)


def test_a_killed_drift_run_leaves_no_partial_report(stack: Stack, load: Load) -> None:
    """If the worker is killed repeatedly at any time, all reports are complete, and it continues."""
    assert load.sent
    for moment_s in (0.5, 1.5, 2.5):
        _wait_for_the_next_run()
        time.sleep(DRIFT_INTERVAL_S - 1 + moment_s)
        stack.kill("drift")
        stack.start("drift")
    eventually(lambda: get(f"{REPORTS}/").is_success, 60)
    time.sleep(DRIFT_INTERVAL_S)
    runs: dict[str, dict[str, Any]] = json.loads(stack.python("drift", _READ_REPORTS))
    assert any(run["compared"] for run in runs.values())
    for run in runs.values():
        reports = {"report.html", "report.json"} if run["compared"] else set()
        assert set(run["files"]) == {"index.html", "result.json"} | reports


_READ_REPORTS = """
import json, pathlib
runs = {}
for run in pathlib.Path("/var/lib/leeway/reports/runs").iterdir():
    result = json.loads((run / "result.json").read_text())
    runs[run.name] = {"compared": result["share"] is not None, "files": [each.name for each in run.iterdir()]}
print(json.dumps(runs))
"""


def _wait_for_the_next_run() -> None:
    """Wait until the worker has finished another run."""
    now_s = time.time()
    finished = names.DRIFT_LAST_SUCCESS.prometheus_name
    eventually(lambda: backends.value(finished) > now_s, 60 + 3 * DRIFT_INTERVAL_S)


def test_a_database_outage(stack: Stack, broken: Breaks, load: Load, report: list[str]) -> None:
    """`features` requests succeed, `user_id` requests get a 503, and each answered prediction is stored once."""
    with broken("postgres", lasting_s=20) as outage:
        pass
    by_features = load.between(outage.began_s, outage.over_s, "features", "batch")
    assert by_features
    assert [each for each in by_features if each.failed] == []
    assert {each.status for each in load.between(outage.killed_s, outage.restarted_s, "customer")} == {503}
    eventually(lambda: all(not each.failed for each in load.sent[-20:]), 30)
    all_recorded_once(stack, load.prediction_ids(), report)


def test_a_killed_service(stack: Stack, load: Load, report: list[str]) -> None:
    """Only requests in flight fail, later ones wait, and each answered prediction is stored once."""
    killed_s = float(stack.python("service", _KILL_THE_API))  # the same clock as ours if both share a kernel, see below
    time.sleep(WAITS_S)
    outage = Outage(killed_s - IN_FLIGHT_S, over_s=killed_s + WAITS_S)
    outage.requests = load.between(outage.began_s, outage.over_s)
    assert outage.requests, "the container's clock is not ours"
    report.append(_line("service killed", outage))
    in_flight = [each for each in outage.requests if each.due_s - AT_ONCE_S <= killed_s <= each.due_s + each.latency_s]
    assert [each for each in outage.failed if each not in in_flight] == []
    assert max(each.latency_s for each in outage.requests) > SLOW_S, "the process that answers was not killed"
    all_recorded_once(stack, load.prediction_ids(), report)


IN_FLIGHT_S, WAITS_S, SLOW_S = 1.0, 10.0, 0.5
AT_ONCE_S = 0.1
"""How long a connection may look alive after its other end was killed."""
# It prints the monotonic time of its kernel, which the test compares with ours: Docker must share this machine's kernel
# (native Linux, not Docker Desktop's virtual machine).
_KILL_THE_API = """
import os, pathlib, signal, time
cmdlines = {each.parent.name: each.read_bytes() for each in pathlib.Path("/proc").glob("[0-9]*/cmdline")}
del cmdlines[str(os.getpid())]
(worker,) = [int(name) for name, cmdline in cmdlines.items() if b"spawn_main" in cmdline]
print(time.monotonic())
os.kill(worker, signal.SIGKILL)
"""


def test_series_continue_after_a_restart(stack: Stack, load: Load) -> None:
    """After the restart above, each series of the service exists once, because its instance id is fixed."""
    assert load.sent
    assert stack.services
    count = f"{names.HTTP_REQUEST_DURATION.prometheus_name}_count"
    eventually(lambda: backends.query(count), 30)
    assert backends.query(f"count without (instance) ({count}) > 1") == []
