from __future__ import annotations

from collections.abc import Callable

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.store.snapshots import Snapshot
from service.core.predictor import (
    Predictor,
)
from service.core.recording import Recorder
from tests.fakes import RememberingProbe
from tests.leeway.store.records import NOON
from tests.service.core.predictor.setting import DAY, Setting, Shelf, Sink, row


@pytest.fixture
def make(bundle: Bundle, people: Population) -> Callable[..., Setting]:
    """Build a predictor over a shelf with the customers `u0` to `u2`; the clock stands at noon."""

    def build(*, required: bool = False) -> Setting:
        shelf = Shelf({f"u{place}": Snapshot(f"u{place}", DAY, row(people, place)) for place in range(3)})
        sink, probe = Sink(), RememberingProbe()
        recorder = Recorder(sink, probe, required=required)
        return Setting(Predictor(bundle, shelf, recorder, probe, lambda: NOON), shelf, sink, probe)

    return build
