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
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pydantic import ValidationError

from leeway.bundle import Bundle
from leeway.encoding import Encoded
from leeway.snapshots import Snapshot, SnapshotsUnavailable
from leeway.telemetry import names
from service.fault_routes import fault_routes
from service.faults import (
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

SLOW = Faults(slow_scoring=Delay(milliseconds=80))
FAILING = Faults(errors=Chance(probability=1))
SNAPSHOT = Snapshot("somebody", date(2026, 1, 31), {})


@dataclass
class World:
    """Time as the test tells it, chance as it wants it, and what became of both."""

    now_s: float = 1_000.0
    chance: Callable[[], float] = lambda: 0.0
    slept_s: list[float] = field(default_factory=list)
    struck: list[tuple[str, str | None, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        probe = self

        class Probe:
            """Remembers."""

            def struck(self, fault: str, value: str | None, probability: float) -> None:
                """See `FaultProbe`."""
                probe.struck.append((fault, value, probability))

        self.switch = FaultSwitch(Probe(), clock_s=lambda: self.now_s, sleep=self.slept_s.append, chance=self.chance)


class Scores:
    """A scorer that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, _encoded: Encoded) -> NDArray[np.float64]:
        """Half each."""
        self.calls += 1
        return np.array([0.5])


class OneCustomer:
    """A snapshot store that knows one customer and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def lookup_many(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The customer, for whomever."""
        self.calls += 1
        return dict.fromkeys(user_ids, SNAPSHOT)

    def is_empty(self) -> bool:
        """It is not."""
        return False


@pytest.fixture
def world() -> World:
    """A switch with nothing in force; each call is struck that can be."""
    return World()


def encoded(bundle: Bundle) -> Encoded:
    """A row that can be scored."""
    return bundle.encoder.encode([bundle.card["example"]])


def score(world: World, bundle: Bundle) -> Scores:
    """Score one row through the faults; the real scorer."""
    scores = Scores()
    FaultyScorer(scores, world.switch).score(encoded(bundle))
    return scores


def look_up(world: World) -> OneCustomer:
    """Look one customer up through the faults; the real store."""
    store = OneCustomer()
    FaultySnapshots(store, world.switch).lookup_many(["somebody"])
    return store


# --- what they do ---------------------------------------------------------------------------------------------------


def test_without_a_fault_nothing_happens(world: World, bundle: Bundle) -> None:
    """With no fault in force the real ones are asked, and nobody waits."""
    assert (score(world, bundle).calls, look_up(world).calls, world.slept_s, world.struck) == (1, 1, [], [])


def test_slow_scoring_delays_the_model(world: World, bundle: Bundle) -> None:
    """A call of the model waits so many milliseconds, and is answered then."""
    world.switch.put(SLOW, 60)
    assert score(world, bundle).calls == 1
    assert world.slept_s == [0.08]


def test_slow_scoring_spares_the_snapshots(world: World) -> None:
    """Looking customers up is as quick as ever."""
    world.switch.put(SLOW, 60)
    assert look_up(world).calls == 1
    assert world.slept_s == []


def test_slow_snapshots_delay_the_look_up(world: World) -> None:
    """A look-up waits so many milliseconds, and is answered then."""
    world.switch.put(Faults(slow_snapshots=Delay(milliseconds=200)), 60)
    assert look_up(world).calls == 1
    assert world.slept_s == [0.2]


def test_slow_snapshots_spare_the_model(world: World, bundle: Bundle) -> None:
    """Scoring is as quick as ever."""
    world.switch.put(Faults(slow_snapshots=Delay(milliseconds=200)), 60)
    score(world, bundle)
    assert world.slept_s == []


def test_absent_snapshots_are_unavailable(world: World) -> None:
    """A look-up fails as it does where the database is away."""
    world.switch.put(Faults(no_snapshots=True), 60)
    with pytest.raises(SnapshotsUnavailable, match="leeway faults"):
        look_up(world)


def test_errors_take_the_place_of_a_score(world: World, bundle: Bundle) -> None:
    """A call of the model raises, and says by whose doing."""
    world.switch.put(FAILING, 60)
    with pytest.raises(InjectedError, match="leeway faults"):
        score(world, bundle)


def test_a_probability_is_the_share_of_calls(bundle: Bundle) -> None:
    """Of many calls the stated share is struck."""
    world = World(chance=random.Random(5).random)  # noqa: S311 (the same draws at each run)
    world.switch.put(Faults(slow_scoring=Delay(milliseconds=1, probability=0.3)), 60)
    for _ in range(2_000):
        score(world, bundle)
    assert len(world.slept_s) == pytest.approx(600, abs=60)


def test_faults_go_together(world: World, bundle: Bundle) -> None:
    """Several faults strike one call, the delay first, and each is told with its extent and probability."""
    world.switch.put(Faults(slow_scoring=Delay(milliseconds=80, probability=0.5), errors=Chance(probability=0.1)), 60)
    with pytest.raises(InjectedError):
        score(world, bundle)
    assert world.slept_s == [0.08]
    assert world.struck == [("slow_scoring", "80 ms", 0.5), ("errors", None, 0.1)]


def test_a_bundle_keeps_all_but_its_scorer(world: World, bundle: Bundle) -> None:
    """A bundle with a faulty scorer scores the same, and is otherwise the same."""
    faulty = with_faulty_scorer(bundle, world.switch)
    row = bundle.card["example"]
    assert faulty.score([row]) == bundle.score([row])
    assert (faulty.encoder, faulty.version, faulty.card) == (bundle.encoder, bundle.version, bundle.card)


# --- for how long ---------------------------------------------------------------------------------------------------


def test_a_fault_ends_by_itself(world: World, bundle: Bundle) -> None:
    """After its seconds a fault strikes no more."""
    world.switch.put(SLOW, 60)
    world.now_s += 60
    score(world, bundle)
    assert (world.slept_s, world.switch.in_force()) == ([], None)


def test_a_fault_lasts_until_then(world: World, bundle: Bundle) -> None:
    """Just before its seconds are over a fault strikes still."""
    world.switch.put(SLOW, 60)
    world.now_s += 59.9
    score(world, bundle)
    assert world.slept_s == [0.08]


def test_a_fault_can_be_lifted(world: World, bundle: Bundle) -> None:
    """Lifted, it strikes no more."""
    world.switch.put(SLOW, 60)
    world.switch.lift()
    score(world, bundle)
    assert world.slept_s == []


def test_faults_replace_each_other(world: World) -> None:
    """What is put takes the place of what was in force, its time included."""
    world.switch.put(SLOW, 60)
    world.switch.put(FAILING, 10)
    now = world.switch.in_force()
    assert now is not None
    assert (now.faults.names(), now.seconds_left) == (("errors",), 10)


def test_the_gauge_names_every_fault(world: World) -> None:
    """1 for what is in force, 0 for the rest."""
    world.switch.put(SLOW, 60)
    active = {labels[names.FAULT_NAME]: value for value, labels in world.switch.active()}
    assert active == {"slow_scoring": 1, "slow_snapshots": 0, "no_snapshots": 0, "errors": 0}


def test_the_gauge_falls_by_itself(world: World) -> None:
    """When the time is up all are 0, though nobody asked for a prediction."""
    world.switch.put(SLOW, 60)
    world.now_s += 61
    assert {value for value, _ in world.switch.active()} == {0}


# --- what the log says ----------------------------------------------------------------------------------------------


def warnings_of(log: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of by the switch."""
    return [each.getMessage() for each in log.records if each.levelno == logging.WARNING]


def test_a_beginning_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A warning tells what is in force, and for how long."""
    world.switch.put(SLOW, 60)
    (line,) = warnings_of(caplog)
    assert "60 s" in line
    assert "slow_scoring" in line


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda world: world.switch.lift(), "switched off"),
        (lambda world: world.switch.put(FAILING, 5), "replaced"),
        (lambda world: setattr(world, "now_s", 2_000.0), "their time is up"),
    ],
    ids=["lifted", "replaced", "time"],
)
def test_an_end_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, end: Callable[[World], Any], reason: str
) -> None:
    """A warning tells of the end and why, once, however often one looks."""
    world.switch.put(SLOW, 60)
    end(world)
    world.switch.in_force()
    world.switch.in_force()
    ended = [line for line in warnings_of(caplog) if "ended" in line]
    assert ended == [f"faults have ended ({reason}): slow_scoring"]


def test_what_ended_is_not_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where the time was up before something new is put, the log says so."""
    world.switch.put(SLOW, 60)
    world.now_s += 61
    world.switch.put(FAILING, 5)
    assert Counter("time is up" in line for line in warnings_of(caplog)) == {False: 2, True: 1}


def test_nothing_to_lift_says_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Lifting where nothing is in force leaves the log alone."""
    world.switch.lift()
    assert warnings_of(caplog) == []


def test_the_log_tells_of_the_end_though_nobody_asks(world: World) -> None:
    """Whoever puts faults in force has the switch looked at again just after their time."""
    due: list[tuple[float, Callable[[], object]]] = []
    app = FastAPI()
    app.include_router(fault_routes(world.switch, later=lambda seconds, call: due.append((seconds, call))))
    TestClient(app).put("/faults", json={"no_snapshots": True, "seconds": 30})
    ((seconds, look),) = due
    world.now_s += seconds
    look()
    assert world.switch._term is None


# --- what can be asked for ------------------------------------------------------------------------------------------


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
def test_nonsense_is_no_fault(faults: dict[str, Any]) -> None:
    """None at all, unknown ones, and values beyond their limits are refused."""
    with pytest.raises(ValidationError):
        Faults.model_validate(faults)


def test_faults_are_known_by_four_names() -> None:
    """The names that metrics, spans and requests share."""
    assert FAULTS == ("slow_scoring", "slow_snapshots", "no_snapshots", "errors")
