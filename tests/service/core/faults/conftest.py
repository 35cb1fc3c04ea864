"""A world to strike in, for each test."""

from __future__ import annotations

import pytest

from tests.service.core.faults.world import World


@pytest.fixture
def world() -> World:
    """A switch with nothing in force; each call is struck that can be."""
    return World()
