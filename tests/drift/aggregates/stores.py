"""A table of any columns in each database that aggregates: SQLite, PostgreSQL and DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from drift.aggregates.databases import DatabaseView, snapshot
from drift.aggregates.duckdb import duckdb_snapshot
from drift.aggregates.question import Answer, Columns, Inside, Question
from drift.aggregates.statements import Selection, Statement
from leeway.schema import FeatureSchema, Kind
from leeway.store.engine import open_engine

TYPES: Mapping[Kind, Any] = {"number": sa.Double, "integer": sa.BigInteger, "flag": sa.Boolean, "category": sa.Text}


@dataclass
class Counting:
    """The columns of a window that count the groups and the values that they return."""

    inner: Columns
    returned: int = 0

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, counted."""
        answers = self.inner.count(questions)
        self.returned += sum(len(each.bins.n) + len(each.words) for each in answers)
        return answers

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        """The values, counted."""
        found = self.inner.inside(questions)
        self.returned += sum(len(each.values) for each in found)
        return found


@dataclass
class CountingSnapshot:
    """A snapshot that counts in `counting`."""

    inner: DatabaseView
    counting: Counting | None = None

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        """The rows."""
        return self.inner.read(statement)

    def parts(self, statement: Statement) -> Iterator[Sequence[Sequence[Any]]]:
        """The same in parts."""
        return self.inner.parts(statement)

    def columns(self, selection: Selection) -> Columns:
        """The columns, counted."""
        self.counting = Counting(self.inner.columns(selection))
        return self.counting


@dataclass(frozen=True)
class Store:
    """A database."""

    engine: sa.Engine | duckdb.DuckDBPyConnection

    def fill(self, schema: FeatureSchema, columns: Mapping[str, Sequence[Any]]) -> sa.Select[Any]:
        """Replace the table by one with these values, and return the statement that selects its rows."""
        table = sa.Table(
            "window_of_rows", sa.MetaData(), *(sa.Column(each.name, TYPES[each.kind]()) for each in schema)
        )
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if isinstance(self.engine, sa.Engine):
            table.drop(self.engine, checkfirst=True)
            table.create(self.engine)
            with self.engine.begin() as connection:
                connection.execute(sa.insert(table), rows)
        else:
            types = {"number": pa.float64(), "integer": pa.int64(), "flag": pa.bool_(), "category": pa.string()}
            given = {each.name: pa.array(columns[each.name], types[each.kind]) for each in schema}
            self.engine.register("given", pa.table(given))
            self.engine.execute("CREATE OR REPLACE TABLE window_of_rows AS SELECT * FROM given")
        return sa.select(*table.c)

    @contextmanager
    def snapshot(self) -> Iterator[DatabaseView]:
        """A snapshot of it."""
        engine = self.engine
        with snapshot(engine) if isinstance(engine, sa.Engine) else duckdb_snapshot(engine) as view:
            yield view


@contextmanager
def sql_store(url: str) -> Iterator[Store]:
    """SQLite or PostgreSQL."""
    engine = open_engine(url)
    yield Store(engine)
    engine.dispose()


@contextmanager
def duckdb_store() -> Iterator[Store]:
    """DuckDB, in memory."""
    with duckdb.connect() as connection:
        yield Store(connection)


def opened(name: str, postgresql: Callable[[], str], sqlite: str) -> AbstractContextManager[Store]:
    """The store of that name."""
    if name == "duckdb":
        return duckdb_store()
    return sql_store(postgresql() if name == "postgresql" else sqlite)
