from __future__ import annotations

import random

import pytest

from leeway.model.bundle import Bundle
from leeway.store.snapshots import SnapshotsUnavailable
from service.core.faults import Chance, Delay, Faults, InjectedError, with_faulty_scorer
from tests.service.core.faults.world import FAILING, SLOW, World, look_up, score


def test_without_a_fault_nothing_happens(world: World, bundle: Bundle) -> None:
    """With no fault in force the real ones are asked, and nobody waits."""
    assert (score(world, bundle).calls, look_up(world).calls, world.slept_s, world.injected) == (1, 1, [], [])


def test_slow_scoring_delays_the_model(world: World, bundle: Bundle) -> None:
    """A call of the model waits so many milliseconds, and is answered then."""
    world.switch.activate(SLOW, 60)
    assert score(world, bundle).calls == 1
    assert world.slept_s == [0.08]


def test_slow_scoring_spares_the_snapshots(world: World) -> None:
    """Looking customers up is as quick as ever."""
    world.switch.activate(SLOW, 60)
    assert look_up(world).calls == 1
    assert world.slept_s == []


def test_slow_snapshots_delay_the_look_up(world: World) -> None:
    """A look-up waits so many milliseconds, and is answered then."""
    world.switch.activate(Faults(slow_snapshots=Delay(milliseconds=200)), 60)
    assert look_up(world).calls == 1
    assert world.slept_s == [0.2]


def test_slow_snapshots_spare_the_model(world: World, bundle: Bundle) -> None:
    """Scoring is as quick as ever."""
    world.switch.activate(Faults(slow_snapshots=Delay(milliseconds=200)), 60)
    score(world, bundle)
    assert world.slept_s == []


def test_absent_snapshots_are_unavailable(world: World) -> None:
    """A look-up fails as it does where the database is away."""
    world.switch.activate(Faults(no_snapshots=True), 60)
    with pytest.raises(SnapshotsUnavailable, match="leeway faults"):
        look_up(world)


def test_errors_take_the_place_of_a_score(world: World, bundle: Bundle) -> None:
    """A call of the model raises, and says by whose doing."""
    world.switch.activate(FAILING, 60)
    with pytest.raises(InjectedError, match="leeway faults"):
        score(world, bundle)


def test_a_probability_is_the_share_of_calls(bundle: Bundle) -> None:
    """Of many calls the stated share is struck."""
    world = World(chance=random.Random(5).random)  # noqa: S311 (the same draws at each run)
    world.switch.activate(Faults(slow_scoring=Delay(milliseconds=1, probability=0.3)), 60)
    for _ in range(2_000):
        score(world, bundle)
    assert len(world.slept_s) == pytest.approx(600, abs=60)


def test_faults_go_together(world: World, bundle: Bundle) -> None:
    """Several faults strike one call, the delay first, and each is told with its extent and probability."""
    world.switch.activate(
        Faults(slow_scoring=Delay(milliseconds=80, probability=0.5), errors=Chance(probability=0.1)), 60
    )
    with pytest.raises(InjectedError):
        score(world, bundle)
    assert world.slept_s == [0.08]
    assert world.injected == [("slow_scoring", "80 ms", 0.5), ("errors", None, 0.1)]


def test_a_bundle_keeps_all_but_its_scorer(world: World, bundle: Bundle) -> None:
    """A bundle with a faulty scorer scores the same, and is otherwise the same."""
    faulty = with_faulty_scorer(bundle, world.switch)
    row = bundle.card.example
    assert faulty.score([row]) == bundle.score([row])
    assert (faulty.encoder, faulty.version, faulty.card) == (bundle.encoder, bundle.version, bundle.card)
