"""Faults, outages and restarts of each container in turn, and what must hold in spite of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from benchmarks.live.load import EXPECTED, TIMEOUT_S, Kind, Load, Sent, p95_s
from benchmarks.live.stack import SERVICE, Stack, eventually, get

PAUSE_S: Final = 3.0
"""Between two disturbances: everything works again, and requests in flight are answered."""
NOTHING: Final = frozenset[Kind]()
ANYTHING: Final = frozenset(EXPECTED)
SCORED: Final = frozenset[Kind]({"features", "customer", "batch", "stranger"})
NEEDS_DATABASE: Final = frozenset[Kind]({"customer", "stranger", "label"})
SLOW: Final = {"slow_scoring": {"milliseconds": 80, "probability": 0.1}}
"""Scoring of features blocks the event loop, so more than a tenth of 100 requests per second would overload it."""
ERRORS: Final = {"errors": {"probability": 0.2}}
MONITORING: Final = ("otel-collector", "jaeger", "prometheus", "alertmanager", "drift")
"""Containers that no request needs."""


@dataclass(frozen=True)
class Disturbance:
    """What is done to the stack, for how long, and which requests may fail meanwhile."""

    name: str
    begin: Callable[[Stack], object]
    end: Callable[[Stack], object] = lambda _: None
    lasting_s: float = 0.0
    may_fail: frozenset[Kind] = NOTHING


@dataclass(frozen=True)
class Lengths:
    """How long each kind of disturbance lasts, in seconds. `collector_s` is longer than the alert waits."""

    fault_s: float
    outage_s: float
    collector_s: float


LONG: Final = Lengths(fault_s=20, outage_s=20, collector_s=75)
SHORT: Final = Lengths(fault_s=8, outage_s=10, collector_s=10)


@dataclass
class Disturbed:
    """A disturbance in monotonic seconds.

    It began, was in effect, was about to be ended, ended, and at last requests succeeded again.
    """

    disturbance: Disturbance
    began_s: float
    in_effect_s: float
    ending_s: float
    ended_s: float
    over_s: float
    requests: list[Sent] = field(default_factory=list)
    before: list[Sent] = field(default_factory=list)

    @property
    def failed(self) -> list[Sent]:
        """The failed requests."""
        return [each for each in self.requests if each.failed]

    @property
    def slowdown(self) -> float:
        """p95 during the disturbance ÷ p95 before it."""
        return p95_s(self.requests) / p95_s(self.before)

    def __str__(self) -> str:
        slowest_s = max((each.latency_s for each in self.requests), default=0.0)
        kinds = sorted({f"{each.kind}: {each.status or 'no answer'}" for each in self.failed})
        failed = f"{len(self.failed)} failed" + (f" ({', '.join(kinds)})" if kinds else "")
        lasted_s = self.ended_s - self.began_s
        return (
            f"{self.disturbance.name}, {lasted_s:.0f} s: {len(self.requests)} sent, {failed}, slowest {slowest_s:.2f} s"
        )


def disturbances(stack: Stack, lengths: Lengths) -> Iterator[Disturbance]:
    """Two faults, an outage of each container that others depend on, and a restart of each other one."""
    yield _fault("scoring is slow", SLOW, lengths.fault_s, NOTHING)
    yield _fault("scoring fails", ERRORS, lengths.fault_s, SCORED)
    for service in MONITORING:
        yield _outage(service, lengths.collector_s if service == "otel-collector" else lengths.outage_s)
    yield _outage("postgres", lengths.outage_s, NEEDS_DATABASE)
    one_time = {"postgres", "setup", "traffic", *MONITORING}
    for service in stack.services:
        if service not in one_time:
            yield _restart(service, ANYTHING if service == "service" else NOTHING)


def disturb(stack: Stack, load: Load, disturbance: Disturbance) -> Disturbed:
    """Disturb the stack after a pause; wait until all requests are answered again, and return what was sent.

    Raises:
        StackError: requests do not succeed again.
    """
    time.sleep(PAUSE_S)
    began_s = time.monotonic()
    disturbance.begin(stack)
    in_effect_s = time.monotonic()
    time.sleep(max(0.0, began_s + disturbance.lasting_s - time.monotonic()))
    ending_s = time.monotonic()
    disturbance.end(stack)
    ended_s = time.monotonic()
    eventually(lambda: get(f"{SERVICE}/health/ready").json().get("status") == "ok", 60)
    eventually(lambda: (last := load.sent[-20:]) and not any(each.failed for each in last), 60)
    over_s = time.monotonic()
    return Disturbed(
        disturbance,
        began_s,
        in_effect_s,
        ending_s,
        ended_s,
        over_s,
        requests=load.between(began_s, over_s),
        before=load.between(began_s - PAUSE_S, began_s),
    )


def unexpected(load: Load, disturbed: Sequence[Disturbed], until_s: float) -> list[Sent]:
    """The requests that failed although nothing that was done to the stack allows it."""

    def is_excused(sent: Sent) -> bool:
        return any(
            sent.kind in each.disturbance.may_fail and each.began_s - TIMEOUT_S <= sent.due_s <= each.over_s
            for each in disturbed
        )

    return [each for each in load.between(0.0, until_s) if each.failed and not is_excused(each)]


def _fault(name: str, faults: dict[str, Any], lasting_s: float, may_fail: frozenset[Kind]) -> Disturbance:
    def switch_on(_: Stack) -> None:
        httpx2.put(
            f"{SERVICE}/faults", json=faults | {"seconds": lasting_s}, timeout=TIMEOUT_S, trust_env=False
        ).raise_for_status()

    return Disturbance(name, switch_on, lasting_s=lasting_s, may_fail=may_fail)


def _outage(service: str, lasting_s: float, may_fail: frozenset[Kind] = NOTHING) -> Disturbance:
    return Disturbance(
        f"{service} unreachable",
        lambda stack: stack.kill(service),
        lambda stack: stack.start(service),
        lasting_s,
        may_fail,
    )


def _restart(service: str, may_fail: frozenset[Kind]) -> Disturbance:
    return Disturbance(f"{service} restarted", lambda stack: stack.restart(service), may_fail=may_fail)
