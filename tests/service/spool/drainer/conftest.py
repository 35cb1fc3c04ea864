"""A spool for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.spool.spool import Spool
from tests.leeway.store.records import open_spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An open spool."""
    with open_spool(tmp_path / "spool.db") as opened:
        yield opened
