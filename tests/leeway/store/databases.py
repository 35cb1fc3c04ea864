"""Databases that a test needs only if they are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.tables import tables_for


@contextmanager
def empty_tables(url: str) -> Iterator[sa.Engine]:
    """Our tables on a PostgreSQL server, empty. They are dropped afterwards."""
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    tables.metadata.drop_all(engine)
    create_tables(engine, tables)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()
