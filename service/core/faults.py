"""Faults that can be injected into a running service: slow scoring, slow or missing snapshots, errors.

They end by themselves. `FaultyScorer` and `FaultySnapshots` wrap the real ones only where `LEEWAY_FAULTS=on`.

A delay sleeps in the thread of the call and lets other threads run, as ONNX Runtime and a database driver do while they
work, so it blocks exactly what a slow model or store would block. Snapshots are always looked up in a worker thread:
other requests continue until all forty threads sleep. A `user_id` and a batch are scored there, too. Given `features`
are scored on the event loop, because that takes microseconds: slow scoring then delays every request, even those to
`/faults`, as a slow model would; `leeway.event_loop.lag` shows it. Unlike a slow model or store, a delay takes no
processor time and holds no database connection.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from leeway.model.bundle import Bundle, Scorer
from leeway.model.encoding import Encoded
from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from leeway.telemetry import names
from service.core.predictor import SnapshotSource
from service.telemetry.probe import FaultProbe

MAX_DELAY_MS = 5_000.0
MAX_SECONDS = 3_600.0
_log = logging.getLogger(__name__)


class InjectedError(Exception):
    """The error that the fault `errors` raises instead of a score."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Delay(_Strict):
    """Calls that take longer."""

    milliseconds: float = Field(ge=1, le=MAX_DELAY_MS, description="How much longer")
    probability: float = Field(default=1.0, gt=0, le=1, description="Share of the calls")

    def __str__(self) -> str:
        return f"{self.milliseconds:g} ms"


class Chance(_Strict):
    """Calls that fail."""

    probability: float = Field(gt=0, le=1, description="Share of the calls")


class Faults(_Strict):
    """The faults to inject; a call is one of the model (a batch is one call) or of the snapshot store."""

    slow_scoring: Delay | None = Field(default=None, description="The model takes longer")
    slow_snapshots: Delay | None = Field(default=None, description="Snapshot lookups take longer")
    no_snapshots: bool = Field(default=False, description="Lookups fail with 503; requests with features still work")
    errors: Chance | None = Field(default=None, description="Scoring raises an exception: 500")

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.names():
            raise ValueError(f"must contain at least one fault: {', '.join(FAULTS)}")
        return self

    def names(self) -> tuple[str, ...]:
        """The names of those that are set, of `FAULTS`."""
        return tuple(name for name in FAULTS if getattr(self, name))

    def document(self) -> dict[str, Any]:
        """Each fault by its name, as it was requested."""
        return self.model_dump(include=set(self.names()))


FAULTS = tuple(Faults.model_fields)
"""Their names in requests, metrics and spans."""


@dataclass(frozen=True)
class ActiveFaults:
    """Faults and when they end, by the switch's clock."""

    faults: Faults
    until_s: float
    clock_s: Callable[[], float]

    @property
    def seconds_left(self) -> float:
        """Seconds until they end; not positive when they have."""
        return self.until_s - self.clock_s()


class FaultSwitch:
    """Holds the active faults and applies them to calls. Safe to call from several threads.

    `clock_s` is monotonic; `sleep` takes seconds; `chance` returns a number in [0, 1).
    """

    def __init__(
        self,
        probe: FaultProbe,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._probe, self._clock_s, self._sleep, self._chance = probe, clock_s, sleep, chance
        self._lock = Lock()
        self._active: ActiveFaults | None = None

    def activate(self, faults: Faults, seconds: float) -> None:
        """Activate these faults for a time, in place of the active ones."""
        self.active()  # logs expired faults as expired, not as replaced
        with self._lock:
            self._end("replaced")
            self._active = ActiveFaults(faults, self._clock_s() + seconds, self._clock_s)
            _log.warning("faults are active for %g s: %s", seconds, faults.document())

    def clear(self) -> None:
        """End all faults."""
        self.active()  # as above
        with self._lock:
            self._end("switched off")

    def active(self) -> ActiveFaults | None:
        """The active faults; those that have expired end here at the latest."""
        active = self._active
        if active is None or active.seconds_left > 0:
            return active
        with self._lock:
            if self._active is active:
                self._end("expired")
        return None

    def _end(self, reason: str) -> None:
        if self._active is not None:
            _log.warning("faults have ended (%s): %s", reason, ", ".join(self._active.faults.names()))
            self._active = None

    def gauge(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """1 for each active fault and 0 for the others, for `leeway.fault.active`."""
        active = self.active()
        active_names = active.faults.names() if active else ()
        return [(float(name in active_names), {names.FAULT_NAME: name}) for name in FAULTS]

    def before_scoring(self) -> None:
        """Apply the active faults to a call of the model.

        Raises:
            InjectedError: `errors` was injected.
        """
        if self._active is None or (active := self.active()) is None:
            return
        self._delay("slow_scoring", active.faults.slow_scoring)
        errors = active.faults.errors
        if errors is not None and self._chance() < errors.probability:
            self._probe.fault_injected("errors", None, errors.probability)
            raise InjectedError("injected by `leeway faults`; `leeway faults off` ends it")

    def before_lookup(self) -> None:
        """Apply the active faults to a call of the snapshot store.

        Raises:
            SnapshotsUnavailable: `no_snapshots` was injected.
        """
        if self._active is None or (active := self.active()) is None:
            return
        self._delay("slow_snapshots", active.faults.slow_snapshots)
        if active.faults.no_snapshots:
            self._probe.fault_injected("no_snapshots", None, 1)
            raise SnapshotsUnavailable("made unavailable by `leeway faults`; `leeway faults off` ends it")

    def _delay(self, fault: str, delay: Delay | None) -> None:
        if delay is not None and self._chance() < delay.probability:
            self._probe.fault_injected(fault, str(delay), delay.probability)
            self._sleep(delay.milliseconds / 1_000)


class FaultyScorer:
    """Wraps a scorer and injects the active faults; a delay counts as the model's time."""

    def __init__(self, scorer: Scorer, switch: FaultSwitch) -> None:
        self._scorer, self._switch = scorer, switch

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `Scorer`; may raise `InjectedError`."""
        self._switch.before_scoring()
        return self._scorer.score(encoded)


class FaultySnapshots:
    """Wraps a snapshot source and injects the active faults; a delay counts as the lookup's time."""

    def __init__(self, snapshots: SnapshotSource, switch: FaultSwitch) -> None:
        self._snapshots, self._switch = snapshots, switch

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """See `SnapshotSource`."""
        self._switch.before_lookup()
        return self._snapshots.lookup_many(user_ids)

    def is_empty(self) -> bool:
        """See `SnapshotSource`; called only after a lookup, to which faults were already applied."""
        return self._snapshots.is_empty()


def with_faulty_scorer(bundle: Bundle, switch: FaultSwitch) -> Bundle:
    """The same bundle, scored through `FaultyScorer`."""
    return replace(bundle, scorer=FaultyScorer(bundle.scorer, switch))
