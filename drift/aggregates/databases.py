"""How SQLite and PostgreSQL run the statements: in one snapshot, with `width_bucket` over a list of bounds.

`drift.aggregates.duckdb` is the same for DuckDB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from drift.aggregates.statements import Column, Statement
from leeway.store.engine import Engine


class Snapshot(Protocol):
    """A consistent view of a database: every statement sees the same rows."""

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        """The rows that the statement selects."""
        ...

    def bucket(self, value: Column, bounds: tuple[float, ...]) -> Column:
        """See `drift.aggregates.statements.Bucket`."""
        ...


@contextmanager
def snapshot(engine: Engine) -> Iterator[Snapshot]:
    """A snapshot of SQLite or PostgreSQL: all that is read in the block is read in one transaction, then rolled back.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read now.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            yield _PostgreSQL(connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True))
        else:
            connection.exec_driver_sql("BEGIN")  # the driver begins a transaction before it writes, not before it reads
            yield _SQLite(connection)


class _PostgreSQL:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        return self._connection.execute(statement).all()

    def bucket(self, value: Column, bounds: tuple[float, ...]) -> Column:
        return sa.func.width_bucket(value, sa.bindparam(None, list(bounds), postgresql.ARRAY(sa.Double)))


class _SQLite(_PostgreSQL):
    """SQLite has no such function, but runs in this process: the standard library's is called from C."""

    _functions = 0

    def bucket(self, value: Column, bounds: tuple[float, ...]) -> Column:
        name, self._functions = f"width_bucket_{self._functions}", self._functions + 1
        driver: Any = self._connection.connection.driver_connection
        driver.create_function(name, 1, partial(bisect_right, bounds), deterministic=True)
        return sa.Function(name, value, type_=sa.Integer)
