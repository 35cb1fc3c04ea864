from __future__ import annotations

from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.core.faults.world import FAILING, SLOW, World, score


def test_a_fault_ends_by_itself(world: World, bundle: Bundle) -> None:
    """After its seconds a fault strikes no more."""
    world.switch.activate(SLOW, 60)
    world.now_s += 60
    score(world, bundle)
    assert (world.slept_s, world.switch.active()) == ([], None)


def test_a_fault_lasts_until_then(world: World, bundle: Bundle) -> None:
    """Just before its seconds are over a fault strikes still."""
    world.switch.activate(SLOW, 60)
    world.now_s += 59.9
    score(world, bundle)
    assert world.slept_s == [0.08]


def test_a_fault_can_be_lifted(world: World, bundle: Bundle) -> None:
    """Lifted, it strikes no more."""
    world.switch.activate(SLOW, 60)
    world.switch.clear()
    score(world, bundle)
    assert world.slept_s == []


def test_faults_replace_each_other(world: World) -> None:
    """What is put takes the place of what was in force, its time included."""
    world.switch.activate(SLOW, 60)
    world.switch.activate(FAILING, 10)
    now = world.switch.active()
    assert now is not None
    assert (now.faults.names(), now.seconds_left) == (("errors",), 10)


def test_the_gauge_names_every_fault(world: World) -> None:
    """1 for what is in force, 0 for the rest."""
    world.switch.activate(SLOW, 60)
    active = {labels[names.FAULT_NAME]: value for value, labels in world.switch.gauge()}
    assert active == {"slow_scoring": 1, "slow_snapshots": 0, "no_snapshots": 0, "errors": 0}


def test_the_gauge_falls_by_itself(world: World) -> None:
    """When the time is up all are 0, though nobody asked for a prediction."""
    world.switch.activate(SLOW, 60)
    world.now_s += 61
    assert {value for value, _ in world.switch.gauge()} == {0}
