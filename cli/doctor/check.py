"""What every check returns, and how long the checks wait for a signal to arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Literal, TypeAlias, TypeVar

from msgspec import Struct

T = TypeVar("T")
CheckState: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
"""`skipped`: not set up here, and the text says how to set it up. `warning`: works, but needs attention."""
LOOK_EVERY_S = 0.25


class CheckResult(Struct, frozen=True, rename={"next_step": "next", "clock_ahead_s": "clock_ahead_seconds"}):
    """What a check found, for people and, encoded as JSON, for programs; and the next step if there is one.

    `clock_ahead_s` is how far the clock of the process that answered is ahead of ours, if its answer says so.
    """

    check: str
    state: CheckState
    found: str
    next_step: str | None = None
    version: str | None = None
    clock_ahead_s: float | None = None

    def __post_init__(self) -> None:
        if self.state in {"warning", "failed"} and not self.next_step:
            raise ValueError(f"{self.check}: a result that is {self.state} needs a next step")


class Deadline:
    """How long to wait for a signal. All deadlines of one run start together, and `give_up` ends them together."""

    def __init__(self, wait_s: float, *, began_s: float | None = None, given_up: Event | None = None) -> None:
        self.wait_s = wait_s
        self._began_s = time.monotonic() if began_s is None else began_s
        self._given_up = given_up or Event()

    @property
    def waited_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def of(self, wait_s: float) -> Deadline:
        """A deadline with the same start and the same end by `give_up`, but another length."""
        return Deadline(wait_s, began_s=self._began_s, given_up=self._given_up)

    def give_up(self) -> None:
        """End all waiting now."""
        self._given_up.set()

    def wait_for(self, look: Callable[[], T | None]) -> T | None:
        """Look until there is something, and return it; None if nothing came in time."""
        while True:
            found = look()
            if found is not None or self.waited_s >= self.wait_s:
                return found
            if self._given_up.wait(LOOK_EVERY_S):
                return None
