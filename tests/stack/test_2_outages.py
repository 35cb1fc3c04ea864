"""Faults, outages and restarts during constant traffic: requests are answered, and no answered prediction is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from benchmarks.live import backends
from benchmarks.live.disturbances import MONITORING, SHORT, Disturbed, disturb, disturbances, unexpected
from benchmarks.live.load import RATE, Load, p95_s
from benchmarks.live.stack import DRIFT_INTERVAL_S, REPORTS, Stack, eventually, get
from leeway.telemetry import names

pytestmark = pytest.mark.stack

WORST_RATIO, NOISE_S = 5.0, 0.25
"""p95 during an outage may be so many times that before it, or this: generous, because machines are noisy."""


@pytest.fixture(scope="module")
def soaked(stack: Stack, load: Load, report: list[str]) -> dict[str, Disturbed]:
    """The short form of `python -m benchmarks.soak`: faults, outages and restarts in turn, by name."""
    assert load.sent
    found = {}
    for each in disturbances(stack, SHORT):
        found[each.name] = disturb(stack, load, each)
        report.append(f"soak: {found[each.name]}")
    return found


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


def test_every_container_is_disturbed(stack: Stack, soaked: dict[str, Disturbed]) -> None:
    """Each container is killed or restarted at least once; `setup` has ended and `traffic` does not run."""
    disturbed = {name.split()[0] for name in soaked if not name.startswith("scoring")}
    assert disturbed == set(stack.services) - {"setup", "traffic"}


@pytest.mark.parametrize("service", MONITORING)
def test_requests_are_unaffected(soaked: dict[str, Disturbed], service: str) -> None:
    """While a monitoring component is down, all requests are answered, about as fast as before."""
    outage = soaked[f"{service} unreachable"]
    assert len(outage.requests) > SHORT.outage_s * RATE / 2
    assert outage.failed == []
    meanwhile = [each for each in outage.requests if outage.in_effect_s <= each.due_s < outage.ending_s]
    assert p95_s(meanwhile) < max(WORST_RATIO * p95_s(outage.before), NOISE_S)  # its new start takes a processor


def test_only_what_may_fail_fails(soaked: dict[str, Disturbed], load: Load) -> None:
    """A request fails only if the fault, the outage or the restart explains it."""
    until_s = max(each.over_s for each in soaked.values())
    assert unexpected(load, list(soaked.values()), until_s) == []


def test_faults_are_noticed(soaked: dict[str, Disturbed]) -> None:
    """Faults slow requests down, or let them fail, so the soak tests something."""
    assert soaked["scoring is slow"].failed == []
    assert soaked["scoring is slow"].slowdown > 1
    assert {each.status for each in soaked["scoring fails"].failed} == {500}


def test_traces_of_jaegers_outage_arrive_later(soaked: dict[str, Disturbed], load: Load) -> None:
    """The Collector queues traces while Jaeger is down."""
    outage = soaked["jaeger unreachable"]
    asked = [each for each in load.between(outage.in_effect_s, outage.ending_s, "features") if each.trace_id]
    assert asked
    for each in asked[:5]:
        assert eventually(partial(backends.spans, str(each.trace_id)), 60)


def test_a_database_outage(stack: Stack, soaked: dict[str, Disturbed], load: Load, report: list[str]) -> None:
    """`features` requests succeed, `user_id` requests get a 503, and each answered prediction is stored once."""
    outage = soaked["postgres unreachable"]
    by_features = load.between(outage.began_s, outage.over_s, "features", "batch")
    assert by_features
    assert [each for each in by_features if each.failed] == []
    lookups = load.between(outage.in_effect_s, outage.ending_s, "customer")
    assert {each.status for each in lookups if each.due_s + each.latency_s < outage.ending_s} == {503}
    all_recorded_once(stack, load.prediction_ids(), report)


def test_a_killed_drift_run_leaves_no_partial_report(stack: Stack, load: Load) -> None:
    """If the worker is killed repeatedly at any time, all reports are complete, and it continues."""
    assert load.sent
    for moment_s in (0.5, 1.5):
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


def test_a_killed_service(stack: Stack, load: Load, report: list[str]) -> None:
    """Only requests in flight fail, later ones wait, and each answered prediction is stored once."""
    killed_s = float(stack.python("service", _KILL_THE_API))  # the same clock as ours if both share a kernel, see below
    time.sleep(WAITS_S)
    requests = load.between(killed_s - IN_FLIGHT_S, killed_s + WAITS_S)
    failed = [each for each in requests if each.failed]
    assert requests, "the container's clock is not ours"
    slowest_s = max(each.latency_s for each in requests)
    report.append(f"service killed: {len(requests)} sent, {len(failed)} failed, slowest {slowest_s:.2f} s")
    in_flight = [each for each in requests if each.due_s - AT_ONCE_S <= killed_s <= each.due_s + each.latency_s]
    assert [each for each in failed if each not in in_flight] == []
    assert slowest_s > SLOW_S, "the process that answers was not killed"
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
