"""A new database for each test, and the prediction log on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.tables import Tables, tables_for


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The tables of the built-in schema."""
    return tables_for(CHURN_SCHEMA)


@pytest.fixture
def engine(tmp_path: Path, tables: Tables) -> Iterator[sa.Engine]:
    """An engine on a new SQLite file with these tables."""
    engine = open_engine(f"sqlite:///{tmp_path / 'leeway.db'}")
    create_tables(engine, tables)
    yield engine
    engine.dispose()


@pytest.fixture
def unreachable(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine on a file whose folder is missing."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'missing' / 'leeway.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: sa.Engine, tables: Tables) -> PredictionLog:
    """The prediction log on `engine`."""
    return PredictionLog(engine, tables)
