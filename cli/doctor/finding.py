"""What one check found: the one result type of all checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
"""`skipped` is what nobody set up here; its text says how to. A `warning` works, and will not for ever."""


@dataclass(frozen=True)
class Finding:
    """What a check found, in words, and what to do next where something is to be done.

    `clock_ahead_s` is how far the clock of who answered is ahead of ours, where the answer told.
    """

    check: str
    state: State
    found: str
    next_step: str | None = None
    version: str | None = None
    clock_ahead_s: float | None = None

    def __post_init__(self) -> None:
        if self.state in {"warning", "failed"} and not self.next_step:
            raise ValueError(f"{self.check}: whoever reads that it is {self.state} must be told what to do next")

    def to_json(self) -> dict[str, Any]:
        """The finding for programs."""
        ahead_s = self.clock_ahead_s
        return {
            "check": self.check,
            "state": self.state,
            "found": self.found,
            "next": self.next_step,
            "version": self.version,
            "clock_ahead_seconds": None if ahead_s is None else round(ahead_s, 3),
        }
