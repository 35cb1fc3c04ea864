from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.spool.monitor import ALIVE_S, DrainerMonitor
from service.spool.status import FILE_NAME, DrainerStatus, write_status


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now_s


class Counter:
    """Adds up what it is given."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, count: int) -> None:
        """Add a count, which is never negative."""
        assert count > 0
        self.total += count


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def monitor(tmp_path: Path, clock: Clock) -> Iterator[DrainerMonitor]:
    """A monitor of a spool without a drainer; it never waits."""
    made = DrainerMonitor(tmp_path, clock)
    yield made
    made.stop(0, lambda: True)


def test_a_drainer_has_time_to_start(monitor: DrainerMonitor, clock: Clock) -> None:
    """It is believed to be alive until it should have written its first status."""
    before = monitor.is_alive()
    clock.now_s += ALIVE_S + 1
    assert (before, monitor.is_alive()) == (True, False)


@pytest.mark.parametrize(("age_s", "alive"), [(0, True), (ALIVE_S - 1, True), (ALIVE_S + 1, False), (-3_600, False)])
def test_a_recent_sign_means_that_it_is_alive(
    tmp_path: Path, monitor: DrainerMonitor, clock: Clock, age_s: float, *, alive: bool
) -> None:
    """An old one, or one from a clock that was far ahead, does not."""
    clock.now_s += 10_000
    write_status(tmp_path, DrainerStatus(updated_at=clock.now_s - age_s))
    assert monitor.is_alive() is alive


def test_only_what_is_new_is_counted(tmp_path: Path) -> None:
    """The status counts since the spool was created; the process counts since its own start."""
    write_status(tmp_path, DrainerStatus(1, written=100, dead_lettered=10))
    written, dead_lettered, monitor = Counter(), Counter(), DrainerMonitor(tmp_path)
    monitor.start(written.add, dead_lettered.add)
    write_status(tmp_path, DrainerStatus(2, written=105, dead_lettered=11))
    monitor.stop(0, lambda: True)
    assert (written.total, dead_lettered.total) == (5, 1)


def test_counters_that_began_again_are_no_loss(tmp_path: Path) -> None:
    """After its status was lost the drainer counts from zero; a damaged status changes nothing."""
    write_status(tmp_path, DrainerStatus(1, written=100))
    written, monitor = Counter(), DrainerMonitor(tmp_path)
    monitor.start(written.add, Counter().add)
    (tmp_path / FILE_NAME).write_bytes(b"damaged")
    monitor.poll()
    write_status(tmp_path, DrainerStatus(2, written=7))
    monitor.stop(0, lambda: True)
    assert written.total == 7


def test_stop_waits_until_everything_is_stored(tmp_path: Path) -> None:
    """What the drainer stores last is reported too."""
    write_status(tmp_path, DrainerStatus(1))
    written, monitor = Counter(), DrainerMonitor(tmp_path)
    monitor.start(written.add, Counter().add)

    def is_drained() -> bool:
        write_status(tmp_path, DrainerStatus(2, written=3))
        return True

    monitor.stop(10, is_drained)
    assert written.total == 3


@pytest.mark.parametrize("status", [None, DrainerStatus(1, is_outage=True)], ids=["no drainer", "outage"])
def test_stop_does_not_wait_for_what_nobody_stores(tmp_path: Path, status: DrainerStatus | None) -> None:
    """Without a drainer or a database nothing would change."""
    if status is not None:
        write_status(tmp_path, status)
    started_s = time.monotonic()
    DrainerMonitor(tmp_path).stop(60, lambda: False)
    assert time.monotonic() - started_s < 30
