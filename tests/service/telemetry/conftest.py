"""One service for all tests of a module, which only add spans and measurements to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import Observed, observed_service


@pytest.fixture(scope="module")
def running(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service with twenty customers."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed:
        yield observed


@pytest.fixture
def service(running: Observed) -> Observed:
    """That service, without the spans of earlier tests."""
    running.telemetry.forget_spans()
    return running
