"""When drift is confirmed: the operator's policy, and the state that runs pass on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

Aware: TypeAlias = Annotated[datetime, Meta(tz=True)]


class Policy(Struct, frozen=True):
    """The rules that an operator sets; see `LEEWAY_DRIFT_*`. A share is of features, the cooldown is in seconds."""

    threshold: float = 0.30
    breaches: int = 3
    cooldown_s: float = 3_600
    min_labels: int = 200

    def at_once(self) -> Policy:
        """The policy of a single comparison: one window decides, and there is no cooldown."""
        return replace(self, breaches=1, cooldown_s=0)


class State(Struct, frozen=True):
    """What a run leaves for the next one.

    `counted` are the ends of the last breaching windows in a row that do not overlap. `retrain_at` is when the last
    RETRAIN began, and `standing` whether it still stands: a RETRAIN stands as long as its reason does, and only a new
    one waits for the cooldown. All times are aware.
    """

    model_version: str
    counted: tuple[Aware, ...] = ()
    retrain_at: Aware | None = None
    standing: bool = False

    def at(self, model_version: str, end: datetime) -> State:
        """The state that applies to a window that ends at `end`.

        A new model version starts a new count; the cooldown continues, so that a new model is not retrained at once.
        After the clock was set back, times in the future count as now: nothing counts twice, and no count or cooldown
        waits for a time that the wrong clock showed.
        """
        state = self if model_version == self.model_version else State(model_version, retrain_at=self.retrain_at)
        retrain_at = None if state.retrain_at is None else min(state.retrain_at, end)
        return replace(state, counted=tuple(min(each, end) for each in state.counted), retrain_at=retrain_at)

    def after_share(self, *, breached: bool, start: datetime, end: datetime, breaches: int) -> State:
        """Count the window [start, end). A breach counts if it overlaps no counted one; a window without one resets."""
        if not breached:
            return replace(self, counted=())
        if self.counted and start < self.counted[-1]:
            return self
        return replace(self, counted=(*self.counted, end)[-breaches:])

    def cools_until(self, end: datetime, cooldown_s: float) -> datetime | None:
        """When a new RETRAIN is possible; None for now. A standing one is not new."""
        if self.standing or self.retrain_at is None:
            return None
        until = self.retrain_at + timedelta(seconds=cooldown_s)
        return until if end < until else None
