"""One real run for all tests here, and telemetry of a worker that has not looked yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from drift.comparison.evidently import compute_drift
from drift.telemetry.otel import OTelDriftProbe
from leeway.model.bundle import Bundle
from leeway.store.predictions import PredictionLabel
from tests.drift.cycles import IDENTITY, RATE, WINDOW_S, World, a_probe, a_world
from tests.drift.standins import shifted_rows
from tests.drift.telemetry.cycle.told import ONLY_KEPT, Told
from tests.telemetry import Telemetry, telemetry_in_memory


@pytest.fixture(scope="package")
def told(tmp_path_factory: pytest.TempPathFactory, small_model: Bundle) -> Iterator[Told]:
    """One real run, Evidently's, over a window that drifted, with labels; some predictions' traces were kept."""
    with ExitStack() as stack:
        world = stack.enter_context(a_world(tmp_path_factory.mktemp("told"), small_model))
        telemetry = stack.enter_context(telemetry_in_memory(IDENTITY))
        records = world.serve(shifted_rows(RATE - ONLY_KEPT), seconds=600)
        world.serve(shifted_rows(ONLY_KEPT, seed=5), start_s=600, seconds=300, traced=True, unusual_features=1)
        labels = [PredictionLabel(each.prediction_id, each.prediction) for each in records]
        world.log.write_labels(labels, datetime.now(UTC))
        world.clock.forward(WINDOW_S)
        world.cycle(a_probe(telemetry, world.bundle, world.clock), compare=compute_drift)()
        yield Told(world, telemetry, telemetry.collect())


@pytest.fixture(autouse=True)
def _release_connections(told: Told) -> Iterator[None]:
    """No test keeps a connection to the database that they share."""
    yield
    told.world.engine.dispose()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of a worker that has not looked yet."""
    with telemetry_in_memory(IDENTITY) as made:
        yield made


@pytest.fixture
def probe(telemetry: Telemetry, world: World) -> OTelDriftProbe:
    """Its probe."""
    return a_probe(telemetry, world.bundle, world.clock)
