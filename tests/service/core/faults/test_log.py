from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.http.fault_routes import fault_routes
from tests.service.core.faults.world import FAILING, SLOW, World


def warnings_of(log: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of by the switch."""
    return [each.getMessage() for each in log.records if each.levelno == logging.WARNING]


def test_a_beginning_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A warning tells what is in force, and for how long."""
    world.switch.activate(SLOW, 60)
    (line,) = warnings_of(caplog)
    assert "60 s" in line
    assert "slow_scoring" in line


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda world: world.switch.clear(), "switched off"),
        (lambda world: world.switch.activate(FAILING, 5), "replaced"),
        (lambda world: setattr(world, "now_s", 2_000.0), "expired"),
    ],
    ids=["lifted", "replaced", "time"],
)
def test_an_end_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, end: Callable[[World], Any], reason: str
) -> None:
    """A warning tells of the end and why, once, however often one looks."""
    world.switch.activate(SLOW, 60)
    end(world)
    world.switch.active()
    world.switch.active()
    ended = [line for line in warnings_of(caplog) if "ended" in line]
    assert ended == [f"faults have ended ({reason}): slow_scoring"]


def test_what_ended_is_not_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where the time was up before something new is put, the log says so."""
    world.switch.activate(SLOW, 60)
    world.now_s += 61
    world.switch.activate(FAILING, 5)
    assert Counter("expired" in line for line in warnings_of(caplog)) == {False: 2, True: 1}


def test_nothing_to_lift_says_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Lifting where nothing is in force leaves the log alone."""
    world.switch.clear()
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
    assert world.switch._active is None
