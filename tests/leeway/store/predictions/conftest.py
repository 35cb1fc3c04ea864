"""A database of its own for each test, and the log on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.store.predictions import PredictionLog
from leeway.store.tables import Tables
from tests.leeway.store.records import a_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[sa.Engine, Tables, PredictionLog]]:
    """An engine on a new SQLite file, the tables of the built-in schema, and the log on them."""
    engine, tables, log = a_database(tmp_path)
    yield engine, tables, log
    engine.dispose()


@pytest.fixture
def engine(database: tuple[sa.Engine, Tables, PredictionLog]) -> sa.Engine:
    """The engine alone."""
    return database[0]


@pytest.fixture
def log(database: tuple[sa.Engine, Tables, PredictionLog]) -> PredictionLog:
    """The log alone."""
    return database[2]
