from __future__ import annotations

import asyncio
import time

import pytest

from service.process.server import measured_lag


async def lags(*, held_up_s: float) -> list[float]:
    """What is told of a loop that sleeps, is held up once, and sleeps again."""
    told: list[float] = []
    async with measured_lag(told.append, interval_s=0.01):
        await asyncio.sleep(0.03)
        time.sleep(held_up_s)  # noqa: ASYNC251 (it holds the loop up: that is what is looked for)
        await asyncio.sleep(0.03)
    return told


def test_a_loop_that_was_held_up_is_late() -> None:
    """Something that blocks the loop for 0.2 s shows as a lag of about that."""
    assert 0.15 < max(asyncio.run(lags(held_up_s=0.2))) < 0.5


def test_a_free_loop_is_told_of_too() -> None:
    """A loop that nothing holds up is told of again and again, and is never early."""
    told = asyncio.run(lags(held_up_s=0))
    assert len(told) >= 3
    assert min(told) >= 0


def test_nothing_is_watched_without_a_listener() -> None:
    """Without telemetry no task is left running."""

    async def tasks() -> int:
        async with measured_lag(None):
            return len(asyncio.all_tasks())

    assert asyncio.run(tasks()) == 1


def test_an_error_inside_comes_out() -> None:
    """What ends the block ends the watching, and is not hidden by it."""

    async def fail() -> None:
        async with measured_lag(lambda _: None):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        asyncio.run(fail())
