"""Monitors the drainer, which is another process: whether it is alive, and how much it has stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

from service.spool.status import DrainerStatus, read_status

ALIVE_S = 15.0
"""The drainer updates its status at least every five seconds. It may also take this long to start."""
POLL_S = 0.5
STOPPING_POLL_S = 0.02

Count: TypeAlias = Callable[[int], object]


class DrainerMonitor:
    """Reads the drainer's status, and counts what the drainer has stored since this process started."""

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock_s = clock_s
        self._started_at = clock_s()
        self._last = read_status(path) or DrainerStatus()
        self._written: Count = _ignore
        self._dead_lettered: Count = _ignore
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="leeway-drainer-monitor", daemon=True)

    def is_alive(self) -> bool:
        """Whether the drainer works, or this process has not waited long enough for it to start."""
        status = read_status(self._path)
        seen_at = max(self._started_at, status.updated_at if status else 0.0)
        return abs(self._clock_s() - seen_at) <= ALIVE_S  # an update in the future: the clock was set back

    def start(self, written: Count, dead_lettered: Count) -> None:
        """Report from now on, in a thread: stored predictions to `written`, others to `dead_lettered`."""
        self._written, self._dead_lettered = written, dead_lettered
        self._thread.start()

    def stop(self, timeout_s: float, is_drained: Callable[[], bool]) -> None:
        """Wait at most `timeout_s` until all is stored or the database is unreachable; report the rest."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and not (is_drained() or self._is_outage()):
            time.sleep(STOPPING_POLL_S)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.poll()

    def poll(self) -> None:
        """Report what changed since the last call."""
        status = read_status(self._path)
        if status is None:
            return
        last, self._last = self._last, status
        # A counter that is smaller than before was reset: the spool was emptied, or its status was damaged.
        _report(self._written, last.written, status.written)
        _report(self._dead_lettered, last.dead_lettered, status.dead_lettered)

    def _is_outage(self) -> bool:
        status = read_status(self._path)
        return status is None or status.is_outage

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            self.poll()


def _report(count: Count, before: int, now: int) -> None:
    if now != before:
        count(now - before if now > before else now)


def _ignore(_count: int) -> None:
    pass
