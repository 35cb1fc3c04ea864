"""How SQLite and PostgreSQL count the columns of a window: in one snapshot.

`drift.aggregates.duckdb` is the same for DuckDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np
import sqlalchemy as sa

from drift.aggregates.batches import BATCH_ROWS, Entries, count_batches, inside_batches
from drift.aggregates.question import Answer, Columns, Group, Inside, Question
from drift.aggregates.statements import (
    Selection,
    Statement,
    extremes,
    groups,
    most_frequent_new,
    one_per_subject,
    stored_values,
    values_inside,
)
from leeway.store.engine import Engine

_SQLITE_ROWS: Final = BATCH_ROWS // 8
"""Rows of Python objects need more memory than arrays."""


class DatabaseView(Protocol):
    """A consistent view of a database: every statement sees the same rows."""

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        """The rows that the statement selects."""
        ...

    def columns(self, selection: Selection) -> Columns:
        """The columns of a window, ready to be counted."""
        ...


@contextmanager
def snapshot(engine: Engine) -> Iterator[DatabaseView]:
    """A snapshot of SQLite or PostgreSQL: all that is read in the block is read in one transaction, then rolled back.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read now.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            reading = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            reading.exec_driver_sql("SET LOCAL jit = off")  # compiling takes longer than counting
            reading.exec_driver_sql("SET LOCAL work_mem = '64MB'")  # keeps a window of a million rows in memory
            yield _SqlSnapshot(reading, _PostgreSQL)
        else:
            connection.exec_driver_sql("BEGIN")  # the driver begins a transaction before it writes, not before it reads
            yield _SqlSnapshot(connection, _SQLite)


class _SqlSnapshot:
    def __init__(self, connection: sa.Connection, columns: type[_PostgreSQL | _SQLite]) -> None:
        self._connection = connection
        self._columns = columns

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        return self._connection.execute(statement).all()

    def columns(self, selection: Selection) -> Columns:
        return self._columns(self._connection, one_per_subject(selection))


class _PostgreSQL:
    """The server counts, and returns about one row for each distinct value of the reference."""

    def __init__(self, connection: sa.Connection, rows: sa.Select[Any]) -> None:
        self._connection = connection
        self._rows = rows

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        found: list[list[Group]] = [[] for _ in questions]
        outside = [0 for _ in questions]
        for place, *group, beyond in self._connection.execute(groups(self._rows, questions)):
            found[place].append(Group(*group))
            if group[0] is not None:
                outside[place] += beyond
        return [
            Answer(counted, beyond, self._new_categories(question, counted), self._only_value(question, counted))
            for question, counted, beyond in zip(questions, found, outside, strict=True)
        ]

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        found: list[list[Sequence[Any]]] = [[] for _ in questions]
        for place, *value in self._connection.execute(values_inside(self._rows, questions)):
            found[place].append(value)
        return [Inside.of(rows) for rows in found]

    def _new_categories(self, question: Question, counted: Sequence[Group]) -> tuple[str, ...]:
        if question.kind != "category" or all(each.bin != 0 for each in counted):
            return ()
        return tuple(row[0] for row in self._connection.execute(most_frequent_new(self._rows, question)))

    def _only_value(self, question: Question, counted: Sequence[Group]) -> Any:  # noqa: ANN401 (of any kind)
        """Queried only if there is one value after clipping: the stored values may still differ."""
        there = [each for each in counted if each.bin is not None]
        numbers = {value for each in there for value in (each.least, each.greatest)}
        if len({each.word for each in there} if question.kind == "category" else numbers) > 1:
            return None
        least, greatest = self._connection.execute(extremes(self._rows, question)).one()
        return least if least == greatest else None


class _SQLite:
    """SQLite runs in this process: its rows are counted here, in batches."""

    def __init__(self, connection: sa.Connection, rows: sa.Select[Any]) -> None:
        self._connection = connection
        self._rows = rows

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        return count_batches(self._batches(questions), questions)

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        return inside_batches(self._batches(questions), questions)

    def _batches(self, questions: Sequence[Question]) -> Iterator[list[Entries]]:
        options = {"yield_per": _SQLITE_ROWS}
        selected = self._connection.execute(stored_values(self._rows, questions), execution_options=options)
        for rows in selected.partitions():
            columns = zip(*rows, strict=True)
            yield [_entries(values, each) for values, each in zip(columns, questions, strict=True)]


def _entries(values: tuple[Any, ...], question: Question) -> Entries:
    if question.kind == "category":
        words = Counter(values)
        del words[None]
        return Entries(len(values), words=words)
    return Entries(len(values), np.array([value for value in values if value is not None]))
