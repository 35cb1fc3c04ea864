"""One service for all tests of a module, its earlier spans forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import Observed, observed_service


@pytest.fixture(scope="module")
def running(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """One service with twenty customers for all tests here."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed:
        yield observed


@pytest.fixture
def service(running: Observed) -> Observed:
    """That service, with the spans of earlier tests forgotten."""
    running.telemetry.forget_spans()
    return running
