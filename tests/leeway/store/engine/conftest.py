"""A new database for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.store.engine import create_tables, open_engine
from tests.leeway.store.engine.labels import TABLES


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    """An engine on a new SQLite file, with the tables made."""
    made = open_engine(f"sqlite:///{tmp_path / 'leeway.db'}")
    create_tables(made, TABLES)
    return made
