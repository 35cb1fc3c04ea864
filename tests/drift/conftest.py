"""A small model for the worker's tests, and a world of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from tests.drift.worlds import World, a_world
from tests.leeway.model.bundles import small_bundle


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model of three features."""
    return small_bundle(tmp_path_factory.mktemp("small-model") / "bundle", name="small")


@pytest.fixture
def world(tmp_path: Path, small_model: Bundle) -> Iterator[World]:
    """The worker's world, with nothing served yet."""
    with a_world(tmp_path, small_model) as made:
        yield made
