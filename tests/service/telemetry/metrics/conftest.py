"""A service that nobody has asked yet, and one that has met all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import STRANGE, STRANGER, Observed, observed_service


@pytest.fixture
def service(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service with twenty customers, that nobody has asked yet."""
    with observed_service(bundle, tmp_path, people) as observed:
        yield observed


@pytest.fixture(scope="module")
def busy(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that has met all that gives it something to measure."""
    with observed_service(bundle, tmp_path_factory.mktemp("busy"), people) as observed:
        observed.predict_customer()
        observed.predict_customer(STRANGER)
        observed.predict(STRANGE)
        observed.predict({"monthly_fee": -1})
        yield observed
