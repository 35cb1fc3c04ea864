"""How SQLite and PostgreSQL count the columns of a window: in one snapshot.

`drift.aggregates.duckdb` is the same for DuckDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Protocol

import numpy as np
import sqlalchemy as sa

from drift.aggregates.batches import BATCH_ROWS, Entries, count_batches, inside_batches
from drift.aggregates.question import Answer, Bins, Columns, Inside, Question, parts_of, stored_columns
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

ROWS_OF_PART: Final = 10_000
_SQLITE_ROWS: Final = BATCH_ROWS // 8
"""Rows of Python objects need more memory than arrays."""


class DatabaseView(Protocol):
    """A consistent view of a database: every statement sees the same rows."""

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        """The rows that the statement selects."""
        ...

    def parts(self, statement: Statement) -> Iterator[Sequence[Sequence[Any]]]:
        """The same rows, at most `ROWS_OF_PART` at a time: objects need more memory than the arrays made of them."""
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

    def parts(self, statement: Statement) -> Iterator[Sequence[Sequence[Any]]]:
        yield from self._connection.execute(statement, execution_options={"yield_per": ROWS_OF_PART}).partitions()

    def columns(self, selection: Selection) -> Columns:
        return self._columns(self._connection, one_per_subject(selection))


class _PostgreSQL:
    """The server counts, and returns about one row for each distinct value of the reference."""

    def __init__(self, connection: sa.Connection, rows: sa.Select[Any]) -> None:
        self._connection = connection
        self._rows = rows

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        counted = [_Counted(each) for each in questions]
        for rows in self._connection.execute(groups(self._rows, questions)).partitions(ROWS_OF_PART):
            for place, of_question in groupby(rows, itemgetter(0)):
                counted[place].add([row[1:] for row in of_question])
        return [self._completed(each.answer(), question) for each, question in zip(counted, questions, strict=True)]

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        found: list[list[Sequence[Any]]] = [[] for _ in questions]
        for place, *value in self._connection.execute(values_inside(self._rows, questions)):
            found[place].append(value)
        return [Inside.of(rows) for rows in found]

    def _completed(self, answer: Answer, question: Question) -> Answer:
        """With what the groups do not show: new categories, and the only value."""
        new: tuple[str, ...] = ()
        if answer.others:
            new = tuple(row[0] for row in self._connection.execute(most_frequent_new(self._rows, question)))
        return replace(answer, new_categories=new, only_value=self._only_value(answer, question))

    def _only_value(self, answer: Answer, question: Question) -> Any:  # noqa: ANN401 (of any kind)
        """Queried only if there is one value after clipping: the stored values may still differ."""
        bins = answer.bins
        if bins.n.size:
            may_be_one = bins.least.min() == bins.greatest.max()
        else:
            may_be_one = len(answer.words) + bool(answer.others) == 1
        if not may_be_one:
            return None
        least, greatest = self._connection.execute(extremes(self._rows, question)).one()
        return least if least == greatest else None


class _Counted:
    """The groups of one question."""

    def __init__(self, question: Question) -> None:
        self._is_category = question.kind == "category"
        self._bins: list[Bins] = []
        self._words: dict[str, int] = {}
        self._missing = self._others = self._outside = 0

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of (bin, word, n, total, least, greatest, outside)."""
        present = [row for row in rows if row[0] is not None]
        self._missing += sum(row[2] for row in rows if row[0] is None)
        if self._is_category:
            self._words |= {row[1]: row[2] for row in present if row[0]}
            self._others += sum(row[2] for row in present if not row[0])
        else:
            self._bins.append(Bins.of([(row[0], *row[2:6]) for row in present]))
            self._outside += sum(row[6] for row in present)

    def answer(self) -> Answer:
        bins = Bins.joined(self._bins)
        return Answer(self._missing, bins, self._words, self._others, self._outside)


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
        place = {column: place for place, column in enumerate(stored_columns(questions))}
        is_divided = bool(parts_of(questions))
        for rows in selected.partitions():
            columns = {
                text: list(zip(*found, strict=True)) for text, found in _by_text(rows, is_divided=is_divided).items()
            }
            chosen = [columns.get(each.part.text if each.part else None) for each in questions]
            yield [
                _entries(of_part[place[each.column, each.kind]], each) if of_part else Entries(0)
                for each, of_part in zip(questions, chosen, strict=True)
            ]


def _by_text(rows: Sequence[Sequence[Any]], *, is_divided: bool) -> Mapping[str | None, Sequence[Sequence[Any]]]:
    """The rows by the text in their last column; all of them if they are not divided."""
    if not is_divided:
        return {None: rows}
    found: dict[str | None, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[-1], []).append(row)
    return found


def _entries(values: tuple[Any, ...], question: Question) -> Entries:
    if question.kind == "category":
        words = Counter(values)
        del words[None]
        return Entries(len(values), words=words)
    return Entries(len(values), np.array([value for value in values if value is not None]))
