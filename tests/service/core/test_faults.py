"""Injected faults, with time and chance as the test sets them."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoded
from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from leeway.telemetry import names
from service.core.faults import (
    FAULTS,
    Chance,
    Delay,
    Faults,
    FaultSwitch,
    FaultyScorer,
    FaultySnapshots,
    InjectedError,
    with_faulty_scorer,
)
from service.telemetry.probe import FaultProbe

SLOW = Faults(slow_scoring=Delay(milliseconds=80))
SLOW_STORE = Faults(slow_snapshots=Delay(milliseconds=200))
FAILING = Faults(errors=Chance(probability=1))


@dataclass
class World(FaultProbe):
    """A switch with a clock, chance and sleep of its own, around a scorer and a store that count their calls."""

    now_s: float = 1_000.0
    chance: Callable[[], float] = lambda: 0.0
    slept_s: list[float] = field(default_factory=list)
    injected: list[tuple[str, str | None, float]] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.switch = FaultSwitch(self, clock_s=lambda: self.now_s, sleep=self.slept_s.append, chance=self.chance)

    def fault_injected(self, fault: str, value: str | None, probability: float) -> None:
        """See `FaultProbe`."""
        self.injected.append((fault, value, probability))

    def score(self, _encoded: Encoded) -> NDArray[np.float64]:
        """The wrapped scorer."""
        self.calls += 1
        return np.array([0.5])

    def lookup_many(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The wrapped store, which has every customer."""
        self.calls += 1
        return dict.fromkeys(user_ids, Snapshot("somebody", date(2026, 1, 31), ()))

    def is_empty(self) -> bool:
        """See `SnapshotSource`."""
        return False

    def score_one(self, bundle: Bundle) -> None:
        """Score one row through the faults."""
        FaultyScorer(self, self.switch).score(bundle.encoder.encode([bundle.schema.row(bundle.card.example)]))

    def look_up_one(self) -> None:
        """Look up one customer through the faults."""
        FaultySnapshots(self, self.switch).lookup_many(["somebody"])


@pytest.fixture
def world() -> World:
    """A world without active faults, in which chance injects every fault that it can."""
    return World()


# --- effects ----------------------------------------------------------------------------------------------------------


def test_without_a_fault_nothing_happens(world: World, bundle: Bundle) -> None:
    """Without an active fault the real scorer and store are called without delay."""
    world.score_one(bundle)
    world.look_up_one()
    assert (world.calls, world.slept_s, world.injected) == (2, [], [])


@pytest.mark.parametrize(("faults", "slept_s"), [(SLOW, [0.08]), (SLOW_STORE, [])], ids=["scoring", "snapshots"])
def test_slow_scoring_delays_the_model_only(world: World, bundle: Bundle, faults: Faults, slept_s: list[float]) -> None:
    """Scoring waits for its own fault, not for that of the snapshots, and is answered."""
    world.switch.activate(faults, 60)
    world.score_one(bundle)
    assert (world.calls, world.slept_s) == (1, slept_s)


@pytest.mark.parametrize(("faults", "slept_s"), [(SLOW, []), (SLOW_STORE, [0.2])], ids=["scoring", "snapshots"])
def test_slow_snapshots_delay_look_ups_only(world: World, faults: Faults, slept_s: list[float]) -> None:
    """A lookup waits for its own fault, not for that of the model, and is answered."""
    world.switch.activate(faults, 60)
    world.look_up_one()
    assert (world.calls, world.slept_s) == (1, slept_s)


def test_missing_snapshots_are_unavailable(world: World) -> None:
    """A lookup fails as if the database were unreachable."""
    world.switch.activate(Faults(no_snapshots=True), 60)
    with pytest.raises(SnapshotsUnavailable, match="leeway faults"):
        world.look_up_one()


def test_errors_replace_a_score(world: World, bundle: Bundle) -> None:
    """A call of the model raises, and the message names the cause."""
    world.switch.activate(FAILING, 60)
    with pytest.raises(InjectedError, match="leeway faults"):
        world.score_one(bundle)


def test_a_probability_is_the_share_of_calls(bundle: Bundle) -> None:
    """Of many calls the stated share is delayed."""
    world = World(chance=random.Random(5).random)  # noqa: S311 (the same draws in each run)
    world.switch.activate(Faults(slow_scoring=Delay(milliseconds=1, probability=0.3)), 60)
    for _ in range(2_000):
        world.score_one(bundle)
    assert len(world.slept_s) == pytest.approx(600, abs=60)


def test_faults_combine(world: World, bundle: Bundle) -> None:
    """Several faults apply to one call, the delay first, and each is reported with its value and probability."""
    delay, chance = Delay(milliseconds=80, probability=0.5), Chance(probability=0.1)
    world.switch.activate(Faults(slow_scoring=delay, errors=chance), 60)
    with pytest.raises(InjectedError):
        world.score_one(bundle)
    assert world.slept_s == [0.08]
    assert world.injected == [("slow_scoring", "80 ms", 0.5), ("errors", None, 0.1)]


def test_a_bundle_keeps_all_but_its_scorer(world: World, bundle: Bundle) -> None:
    """A bundle with a faulty scorer scores the same, and is otherwise the same."""
    faulty = with_faulty_scorer(bundle, world.switch)
    row = bundle.card.example
    assert faulty.score([row]) == bundle.score([row])
    assert (faulty.encoder, faulty.version, faulty.card) == (bundle.encoder, bundle.version, bundle.card)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "slept_s"), [(59.9, [0.08]), (60, [])])
def test_a_fault_ends_by_itself(world: World, bundle: Bundle, after_s: float, slept_s: list[float]) -> None:
    """A fault is active until its time is over, and no longer."""
    world.switch.activate(SLOW, 60)
    world.now_s += after_s
    world.score_one(bundle)
    assert (world.slept_s, world.switch.active() is None) == (slept_s, not slept_s)


def test_a_fault_can_be_cleared(world: World, bundle: Bundle) -> None:
    """A cleared fault is not injected any more."""
    world.switch.activate(SLOW, 60)
    world.switch.clear()
    world.score_one(bundle)
    assert world.slept_s == []


def test_faults_replace_each_other(world: World) -> None:
    """New faults replace the active ones, and their time."""
    world.switch.activate(SLOW, 60)
    world.switch.activate(FAILING, 10)
    active = world.switch.active()
    assert active is not None
    assert (active.faults.names(), active.seconds_left) == (("errors",), 10)


def test_the_gauge_names_every_fault(world: World) -> None:
    """1 for active faults, 0 for the others; all are 0 when the time is over, without any request."""
    world.switch.activate(SLOW, 60)
    active = {labels[names.FAULT_NAME]: value for value, labels in world.switch.gauge()}
    world.now_s += 61
    assert active == {"slow_scoring": 1, "slow_snapshots": 0, "no_snapshots": 0, "errors": 0}
    assert {value for value, _ in world.switch.gauge()} == {0}


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"no_snapshots": False},
        {"slow_scoring": {"milliseconds": 0}},
        {"slow_scoring": {"milliseconds": 5_001}},
        {"slow_scoring": {"milliseconds": float("nan")}},
        {"slow_snapshots": {"milliseconds": 80, "probability": 0}},
        {"errors": {"probability": 1.1}},
        {"errors": {}},
        {"fire": True},
    ],
)
def test_invalid_faults_are_rejected(faults: dict[str, Any]) -> None:
    """No fault at all, unknown ones, and values beyond their limits are rejected."""
    with pytest.raises(ValidationError):
        Faults.model_validate(faults)


def test_there_are_four_faults() -> None:
    """Metrics, spans and requests share their names."""
    assert FAULTS == ("slow_scoring", "slow_snapshots", "no_snapshots", "errors")


# --- log --------------------------------------------------------------------------------------------------------------


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of the switch."""
    return [each.getMessage() for each in log.records if each.levelno == logging.WARNING]


def test_the_start_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the active faults and their time."""
    world.switch.activate(SLOW, 60)
    (line,) = warnings_in(caplog)
    assert "60 s" in line
    assert "slow_scoring" in line


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda world: world.switch.clear(), "switched off"),
        (lambda world: world.switch.activate(FAILING, 5), "replaced"),
        (lambda world: setattr(world, "now_s", 2_000.0), "expired"),
    ],
    ids=["cleared", "replaced", "expired"],
)
def test_the_end_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, end: Callable[[World], Any], reason: str
) -> None:
    """A warning gives the end and its reason, once, however often the switch is asked."""
    world.switch.activate(SLOW, 60)
    end(world)
    world.switch.active()
    world.switch.active()
    ended = [line for line in warnings_in(caplog) if "ended" in line]
    assert ended == [f"faults have ended ({reason}): slow_scoring"]


def test_expired_faults_are_not_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """If faults expire before new ones are activated, the log says so."""
    world.switch.activate(SLOW, 60)
    world.now_s += 61
    world.switch.activate(FAILING, 5)
    assert Counter("expired" in line for line in warnings_in(caplog)) == {False: 2, True: 1}


def test_clearing_nothing_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Clearing without active faults logs nothing."""
    world.switch.clear()
    assert warnings_in(caplog) == []
