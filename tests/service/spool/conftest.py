"""A new spool for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.spool.reader import SpoolReader
from service.spool.spool import Spool
from tests.service.spool.spools import open_spool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The spool's path, a folder that does not exist yet."""
    return tmp_path / "var" / "spool"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """An open spool."""
    with open_spool(path) as opened:
        yield opened


@pytest.fixture
def reader(spool: Spool) -> Iterator[SpoolReader]:
    """What a drainer reads the spool with, without a lease."""
    opened = SpoolReader(spool.path)
    yield opened
    opened.release()
