"""What every check returns, and how long the checks wait for a signal to arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Deadline:
    """How long to wait for a signal. All deadlines of one run start together, and `give_up` ends them together."""

    wait_s: float
    _began_s: float = field(default_factory=time.monotonic)
    _given_up: Event = field(default_factory=Event)

    @property
    def waited_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def of(self, wait_s: float) -> Deadline:
        """A deadline with the same start and the same end by `give_up`, but another length."""
        return replace(self, wait_s=wait_s)

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
