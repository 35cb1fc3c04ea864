"""A spool for each test, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.spool.spool import Spool
from tests.leeway.store.records import open_spool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool goes: in a folder that is not there yet."""
    return tmp_path / "var" / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """An open spool."""
    with open_spool(path) as opened:
        yield opened
