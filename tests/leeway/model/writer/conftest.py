"""A small bundle, to be read."""

from __future__ import annotations

import pytest

from leeway.model.bundle import Bundle
from tests.leeway.model.bundles import small_bundle


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A logistic regression on two numbers and a category."""
    return small_bundle(tmp_path_factory.mktemp("small") / "bundle")
