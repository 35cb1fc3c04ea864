"""A service that allows faults, and one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.service.observed import Observed, observed_service


@pytest.fixture
def service(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service that allows faults; none is in force."""
    with observed_service(bundle, tmp_path, people, faults=True) as observed:
        yield observed


@pytest.fixture
def strict(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service that does not."""
    with observed_service(bundle, tmp_path, people) as observed:
        yield observed
