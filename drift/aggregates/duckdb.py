"""How DuckDB runs the statements: it takes PostgreSQL's text, without a dialect of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from duckdb import DuckDBPyConnection
from duckdb.func import PythonUDFType
from sqlalchemy.dialects import postgresql

from drift.aggregates.databases import Snapshot
from drift.aggregates.statements import Column, Statement

_Dialect: Any = postgresql.dialect  # SQLAlchemy does not type it


@contextmanager
def duckdb_snapshot(connection: DuckDBPyConnection) -> Iterator[Snapshot]:
    """A snapshot of DuckDB: all that is read in the block is read in one transaction, then rolled back."""
    connection.begin()
    view = _DuckDB(connection)
    try:
        yield view
    finally:
        view.remove_functions()  # first: after a rollback it knows them no more, and does not let them be made again
        connection.rollback()


class _DuckDB:
    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._dialect = _Dialect(paramstyle="qmark")
        self._functions: list[str] = []

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        compiled = statement.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
        values = [compiled.params[name] for name in compiled.positiontup or ()]
        return self._connection.execute(str(compiled), values).fetchall()

    def bucket(self, value: Column, bounds: tuple[float, ...]) -> Column:
        """NumPy's, which takes thousands of values at a call."""
        edges, name = np.array(bounds), f"width_bucket_{len(self._functions)}"

        def width_bucket(numbers: Any) -> Any:  # noqa: ANN401 (pyarrow ships no types)
            return pa.array(np.searchsorted(edges, numbers.to_numpy(), side="right"), type=pa.int32())

        self._connection.create_function(name, width_bucket, ["double"], "integer", type=PythonUDFType.ARROW)
        self._functions.append(name)
        return sa.Function(name, value, type_=sa.Integer)

    def remove_functions(self) -> None:
        for name in self._functions:
            self._connection.remove_function(name)
