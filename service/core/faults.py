"""Faults to try out in a running service: slow scoring, slow or absent snapshots, errors; they end by themselves.

`FaultyScorer` and `FaultySnapshots` stand round the real ones only where `LEEWAY_FAULTS=on`; elsewhere neither exists.

A delay sleeps where the call is made and lets other threads run meanwhile, as ONNX Runtime and a database driver do
while they work; so it stops what a slow model or store would stop, and no more. Snapshots are looked up in a worker
thread, always: the others go on, until all forty threads sleep. Scoring for a `user_id` and for a batch happens there
too. For given `features` it happens on the event loop, because it takes microseconds: there slow scoring holds up
every request, also those to `/faults`, as a model that has become slow would; `leeway.event_loop.lag` shows it. What
differs: a delay takes no processor time and holds no connection to the database.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from leeway.model.bundle import Bundle, Scorer
from leeway.model.encoding import Encoded
from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from leeway.telemetry import names
from service.core.predictor import SnapshotSource
from service.http.schemas import Strict

MAX_DELAY_MS = 5_000.0
MAX_SECONDS = 3_600.0
_log = logging.getLogger(__name__)


class InjectedError(Exception):
    """The error that the fault `errors` raises in place of a score."""


class Delay(Strict):
    """Calls that take longer than they would."""

    milliseconds: float = Field(ge=1, le=MAX_DELAY_MS, description="How much longer")
    probability: float = Field(default=1.0, gt=0, le=1, description="Share of the calls")

    def __str__(self) -> str:
        return f"{self.milliseconds:g} ms"


class Chance(Strict):
    """Calls that fail."""

    probability: float = Field(gt=0, le=1, description="Share of the calls")


class Faults(Strict):
    """Which faults there are to be; a call is one of the model (a batch is one) or of the snapshot store."""

    slow_scoring: Delay | None = Field(default=None, description="The model takes longer")
    slow_snapshots: Delay | None = Field(default=None, description="Looking customers up takes longer")
    no_snapshots: bool = Field(default=False, description="Customers cannot be looked up: 503, features go on")
    errors: Chance | None = Field(default=None, description="Scoring raises an exception: 500")

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.names():
            raise ValueError(f"must hold at least one fault: {', '.join(FAULTS)}")
        return self

    def names(self) -> tuple[str, ...]:
        """Which they are, of `FAULTS`."""
        return tuple(name for name in FAULTS if getattr(self, name))

    def document(self) -> dict[str, Any]:
        """Each fault by its name, as it was put."""
        return self.model_dump(include=set(self.names()))


FAULTS = tuple(Faults.model_fields)
"""Their names, by which they are known to metrics and spans too."""


@dataclass(frozen=True)
class ActiveBundle:
    """Faults and how many seconds they have left."""

    faults: Faults
    seconds_left: float


@dataclass(frozen=True)
class _Term:
    """Faults and when they end, by the switch's clock."""

    faults: Faults
    until_s: float


class FaultProbe(Protocol):
    """Told of each fault that a request met."""

    def struck(self, fault: str, value: str | None, probability: float) -> None:
        """The current request met `fault`, which strikes with this probability; `value` says how much of it."""


class FaultSwitch:
    """Which faults are in force, and what they do to a call; safe to call from several threads.

    `clock_s` never goes back; `sleep` takes seconds; `chance` gives a number in 0…1, 1 left out.
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
        self._switching = Lock()
        self._term: _Term | None = None

    def put(self, faults: Faults, seconds: float) -> None:
        """Put these faults in force for so many seconds, in place of those that are."""
        self.in_force()  # those whose time was up ended by that, and are not replaced
        with self._switching:
            self._end("replaced")
            self._term = _Term(faults, self._clock_s() + seconds)
            _log.warning("faults are in force for %g s: %s", seconds, faults.document())

    def lift(self) -> None:
        """Put no fault in force any more."""
        self.in_force()  # as above
        with self._switching:
            self._end("switched off")

    def in_force(self) -> ActiveBundle | None:
        """What is in force now; what has had its time ends here, if not before."""
        term = self._term
        if term is None:
            return None
        seconds_left = term.until_s - self._clock_s()
        if seconds_left > 0:
            return ActiveBundle(term.faults, seconds_left)
        with self._switching:
            if self._term is term:
                self._end("their time is up")
        return None

    def _end(self, reason: str) -> None:
        if self._term is not None:
            _log.warning("faults have ended (%s): %s", reason, ", ".join(self._term.faults.names()))
            self._term = None

    def active(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """1 for each fault in force and 0 for the others, for `leeway.fault.active`."""
        now = self.in_force()
        there = now.faults.names() if now else ()
        return [(float(name in there), {names.FAULT_NAME: name}) for name in FAULTS]

    def before_scoring(self) -> None:
        """Do to a call of the model what is in force.

        Raises:
            InjectedError: `errors` struck.
        """
        if self._term is None or (now := self.in_force()) is None:
            return
        self._delay("slow_scoring", now.faults.slow_scoring)
        errors = now.faults.errors
        if errors is not None and self._chance() < errors.probability:
            self._probe.struck("errors", None, errors.probability)
            raise InjectedError("`leeway faults` put this error here: `leeway faults off` ends it")

    def before_lookup(self) -> None:
        """Do to a call of the snapshot store what is in force.

        Raises:
            SnapshotsUnavailable: `no_snapshots` is.
        """
        if self._term is None or (now := self.in_force()) is None:
            return
        self._delay("slow_snapshots", now.faults.slow_snapshots)
        if now.faults.no_snapshots:
            self._probe.struck("no_snapshots", None, 1)
            raise SnapshotsUnavailable("`leeway faults` took the snapshots away")

    def _delay(self, fault: str, delay: Delay | None) -> None:
        if delay is not None and self._chance() < delay.probability:
            self._probe.struck(fault, str(delay), delay.probability)
            self._sleep(delay.milliseconds / 1_000)


class FaultyScorer:
    """A scorer that the faults in force befall; the time counts as the model's."""

    def __init__(self, scorer: Scorer, switch: FaultSwitch) -> None:
        self._scorer, self._switch = scorer, switch

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `Scorer`; may raise `InjectedError`."""
        self._switch.before_scoring()
        return self._scorer.score(encoded)


class FaultySnapshots:
    """Snapshots that the faults in force befall; the time counts as the look-up's."""

    def __init__(self, snapshots: SnapshotSource, switch: FaultSwitch) -> None:
        self._snapshots, self._switch = snapshots, switch

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """See `SnapshotSource`."""
        self._switch.before_lookup()
        return self._snapshots.lookup_many(user_ids)

    def is_empty(self) -> bool:
        """See `SnapshotSource`; asked only behind a look-up, which met the faults already."""
        return self._snapshots.is_empty()


def with_faulty_scorer(bundle: Bundle, switch: FaultSwitch) -> Bundle:
    """The same bundle, scored through `FaultyScorer`."""
    return replace(bundle, scorer=FaultyScorer(bundle.scorer, switch))
