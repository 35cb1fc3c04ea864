"""Time and chance as a test tells them, a scorer and a store that count their calls, and faults between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoded
from leeway.store.snapshots import Snapshot
from service.core.faults import Chance, Delay, Faults, FaultSwitch, FaultyScorer, FaultySnapshots
from service.telemetry.probe import FaultProbe

SLOW = Faults(slow_scoring=Delay(milliseconds=80))
FAILING = Faults(errors=Chance(probability=1))
SNAPSHOT = Snapshot("somebody", date(2026, 1, 31), ())


@dataclass
class World:
    """Time as the test tells it, chance as it wants it, and what became of both."""

    now_s: float = 1_000.0
    chance: Callable[[], float] = lambda: 0.0
    slept_s: list[float] = field(default_factory=list)
    injected: list[tuple[str, str | None, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        probe = self

        class Probe(FaultProbe):
            """Remembers."""

            def fault_injected(self, fault: str, value: str | None, probability: float) -> None:
                """See `FaultProbe`."""
                probe.injected.append((fault, value, probability))

        self.switch = FaultSwitch(Probe(), clock_s=lambda: self.now_s, sleep=self.slept_s.append, chance=self.chance)


class Scores:
    """A scorer that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, _encoded: Encoded) -> NDArray[np.float64]:
        """Half each."""
        self.calls += 1
        return np.array([0.5])


class OneCustomer:
    """A snapshot store that knows one customer and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def lookup_many(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The customer, for whomever."""
        self.calls += 1
        return dict.fromkeys(user_ids, SNAPSHOT)

    def is_empty(self) -> bool:
        """It is not."""
        return False


def encoded(bundle: Bundle) -> Encoded:
    """A row that can be scored."""
    return bundle.encoder.encode([bundle.schema.row(bundle.card.example)])


def score(world: World, bundle: Bundle) -> Scores:
    """Score one row through the faults; the real scorer."""
    scores = Scores()
    FaultyScorer(scores, world.switch).score(encoded(bundle))
    return scores


def look_up(world: World) -> OneCustomer:
    """Look one customer up through the faults; the real store."""
    store = OneCustomer()
    FaultySnapshots(store, world.switch).lookup_many(["somebody"])
    return store
