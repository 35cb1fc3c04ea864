"""The first month of the built-in population, and a model of it."""

from __future__ import annotations

import pytest

from leeway.data.population import Population, population
from tests.leeway.data.measured import ChurnModel


@pytest.fixture(scope="package")
def first() -> Population:
    """The first month with default arguments."""
    return population()


@pytest.fixture(scope="package")
def model(first: Population) -> ChurnModel:
    """A good model of the first month."""
    return ChurnModel(first)
