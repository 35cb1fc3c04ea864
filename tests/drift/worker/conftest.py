"""What a cycle tells, and worlds in which two hours were served already: one drifting, one calm."""

from __future__ import annotations

import pytest

from tests.drift.cycles import RATE, WINDOW_S, World
from tests.drift.standins import RememberingProbe, calm_rows, shifted_rows


@pytest.fixture
def probe() -> RememberingProbe:
    """What the cycle tells."""
    return RememberingProbe()


@pytest.fixture
def drifting(world: World) -> World:
    """Two hours of shifted predictions, and the clock at the end of the first window."""
    world.serve(shifted_rows(8 * RATE), seconds=8 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    return world


@pytest.fixture
def calm(world: World) -> World:
    """Two hours of predictions as they always were, and the clock at the end of the first window."""
    world.serve(calm_rows(8 * RATE), seconds=8 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    return world
