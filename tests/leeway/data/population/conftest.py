"""The first month, and a model of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from leeway.data.population import Population, population
from tests.leeway.data.population.measured import matrix, split


@pytest.fixture(scope="module")
def first() -> Population:
    """The first month, as it is made by default."""
    return population()


@pytest.fixture(scope="module")
def model(first: Population) -> HistGradientBoostingClassifier:
    """A good model of the first month, fitted on 70 % of it."""
    fit_on, _ = split(first)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=80, max_leaf_nodes=8, min_samples_leaf=40, random_state=0
    )
    return trees.fit(matrix(first)[fit_on], np.array(first.labels)[fit_on])
