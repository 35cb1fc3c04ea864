"""Databases that a test needs only if they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.tables import tables_for


@contextmanager
def empty_postgres() -> Iterator[sa.Engine]:
    """A PostgreSQL server with our tables, empty. They are dropped afterwards."""
    url = os.environ.get("LEEWAY_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LEEWAY_TEST_POSTGRES_URL is not set")
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    tables.metadata.drop_all(engine)
    create_tables(engine, tables)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()
