"""How DuckDB counts the columns of a window: its rows are counted here, in batches of Arrow's columns.

DuckDB takes PostgreSQL's text, without a dialect of its own. Values are part of the text: with parameters, DuckDB
would keep the whole result in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa
from duckdb import DuckDBPyConnection
from sqlalchemy.dialects import postgresql

from drift.aggregates.batches import BATCH_ROWS, Entries, count_batches, inside_batches
from drift.aggregates.databases import ROWS_OF_PART, DatabaseView
from drift.aggregates.question import Answer, Columns, Inside, Part, Question, parts_of
from drift.aggregates.statements import Column, LastRows, Selection, Statement, category
from leeway.schema import Kind

_POSITION_BITS: Final = 40
_BEFORE_ALL: Final = -(2**63)
Chosen: TypeAlias = npt.NDArray[np.intp] | None
_dialect: Any = postgresql.dialect(paramstyle="qmark")  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it
_dialect._backslash_escapes = False  # noqa: SLF001 (DuckDB's strings have no escapes)


@contextmanager
def duckdb_snapshot(connection: DuckDBPyConnection) -> Iterator[DatabaseView]:
    """A snapshot of DuckDB: all that is read in the block is read in one transaction, then rolled back."""
    connection.begin()
    try:
        yield _DuckDB(connection)
    finally:
        connection.rollback()


class _DuckDB:
    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def read(self, statement: Statement) -> Sequence[Sequence[Any]]:
        return self._connection.execute(duckdb_text(statement)).fetchall()

    def parts(self, statement: Statement) -> Iterator[Sequence[Sequence[Any]]]:
        result = self._connection.execute(duckdb_text(statement))
        while rows := result.fetchmany(ROWS_OF_PART):
            yield rows

    def columns(self, selection: Selection) -> Columns:
        return _Columns(self._connection, selection)


def duckdb_text(statement: Statement) -> str:
    """The statement as DuckDB reads it."""
    return str(statement.compile(dialect=_dialect, compile_kwargs={"literal_binds": True}))


class _Columns:
    def __init__(self, connection: DuckDBPyConnection, selection: Selection) -> None:
        self._connection = connection
        self._selection = selection
        self._rows = selection.rows if isinstance(selection, LastRows) else selection

    def count(self, questions: Sequence[Question]) -> list[Answer]:
        return count_batches(self._batches(questions), questions)

    def inside(self, questions: Sequence[Question]) -> list[Inside]:
        return inside_batches(self._batches(questions), questions)

    def _batches(self, questions: Sequence[Question]) -> Iterator[list[Entries]]:
        inner, parts = self._rows.subquery("rows_in_window"), parts_of(questions)
        read = list(dict.fromkeys(map(_read, questions)))
        columns = [column for each in read for column in _stored(inner.c[each.column], each)]
        columns += [_place(inner.c[each.column], [part.text for part in parts]) for each in parts[:1]]
        wanted, start = self._wanted, 0
        for batch in self._connection.sql(duckdb_text(sa.select(*columns))).to_arrow_reader(BATCH_ROWS):
            size, found = batch.num_rows, iter(batch.columns)
            arrays = {each: [next(found) for _ in range(2 if each.kind == "category" else 1)] for each in read}
            chosen = None if wanted is None else np.flatnonzero(wanted[start : start + size])
            rows: dict[Part | None, Chosen] = {None: chosen}
            if parts:
                rows |= _divided(_array(next(found), chosen), chosen, parts)
            yield [_entries(arrays[_read(each)], each, rows[each.part]) for each in questions]
            start += size
        if wanted is not None and start != len(wanted):
            raise RowsChanged(f"{start:,} rows were read, but there were {len(wanted):,} before")

    @cached_property
    def _wanted(self) -> npt.NDArray[np.bool_] | None:
        """Which rows, in the order in which DuckDB reads them, are the last of their subjects; None for all.

        Joining each row with the last one of its subject takes longer than reading all rows twice.
        """
        if not isinstance(self._selection, LastRows):
            return None
        inner = self._rows.subquery("rows_in_window")
        position: Column = sa.func.row_number().over() - 1
        columns = [position.label("position"), inner.c[self._selection.subject].label("subject")]
        placed = sa.select(*columns, inner.c[self._selection.order].label("ordered")).subquery("placed")
        last = sa.select(_last(placed)).where(placed.c.subject.is_not(None)).group_by(placed.c.subject)
        alone = sa.select(placed.c.position).where(placed.c.subject.is_(None))
        found = self._connection.execute(duckdb_text(last.union_all(alone))).fetchnumpy()
        ((rows,),) = self._connection.execute(duckdb_text(sa.select(sa.func.count()).select_from(inner))).fetchall()
        wanted = np.zeros(rows, dtype=np.bool_)
        wanted[next(iter(found.values()))] = True
        return wanted


class RowsChanged(Exception):
    """A file changed while it was read."""


def _last(placed: sa.Subquery) -> Column:
    """The position of a subject's last row."""
    position, order = placed.c.position, placed.c.ordered
    if isinstance(order.type, sa.DateTime | sa.Integer):  # one combined number is compared faster than two
        number = sa.func.epoch_us(order) if isinstance(order.type, sa.DateTime) else order
        key: Column = sa.func.coalesce(number, sa.literal_column(str(_BEFORE_ALL))).op("::")(
            sa.literal_column("HUGEINT")
        )
        both = sa.func.max(key * sa.literal_column(str(2**_POSITION_BITS)) + position)
        return sa.cast(both.op("&")(sa.literal_column(str(2**_POSITION_BITS - 1))), sa.BigInteger)
    return sa.func.coalesce(sa.func.arg_max(position, order), sa.func.max(position))


class _Read(NamedTuple):
    """A column that is read; of a category, what is known."""

    column: str
    kind: Kind
    known: tuple[str, ...]


def _read(question: Question) -> _Read:
    return _Read(question.column, question.kind, (question.known or ()) if question.kind == "category" else ())


def _stored(column: Column, read: _Read) -> list[Column]:
    """Numbers as they are stored, flags as 1 and 0; of a category its place among the known ones, and new text."""
    if read.kind == "category":
        text = category(column)
        place = _place(text, read.known)
        return [place, sa.case((place == 0, text))]
    if read.kind == "flag":
        return [sa.cast(column, sa.SmallInteger)]
    return [sa.cast(column, sa.Double) if read.kind == "number" else column]


def _place(text: Column, known: Sequence[str]) -> Column:
    """The place of a text among the known ones, from 1; 0 for others and for NULL."""
    found = sa.func.list_position(sa.func.list_value(*map(sa.literal, known)), text)
    return sa.cast(sa.func.coalesce(found, 0), sa.Integer)


def _divided(places: npt.NDArray[Any], chosen: Chosen, parts: Sequence[Part]) -> Iterator[tuple[Part, Chosen]]:
    """The rows of each part: `places` are those of the chosen rows, see `_place`."""
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(1, len(parts) + 2))
    rows = order if chosen is None else chosen[order]
    for part, start, end in zip(parts, ends[:-1], ends[1:], strict=True):
        yield part, rows[start:end]


def _entries(columns: Sequence[Any], question: Question, chosen: Chosen) -> Entries:
    """The entries of a column, of which a category has two."""
    column = columns[0]
    size = len(column) if chosen is None else len(chosen)
    if question.kind == "category":
        places = len(question.known or ()) + 1
        counts = np.bincount(_array(column, chosen), minlength=places)[1:].tolist()
        words = dict(zip(question.known or (), counts, strict=True))
        return Entries(size, words=words | _word_counts(columns[1], chosen))
    if column.null_count:
        column, chosen = _taken(column, chosen).drop_null(), None
    return Entries(size, _array(column, chosen))


def _array(column: Any, chosen: Chosen) -> npt.NDArray[Any]:  # noqa: ANN401 (pyarrow ships no types)
    """The chosen numbers of a column that has no NULL. NumPy chooses faster than Arrow."""
    numbers: npt.NDArray[Any] = np.from_dlpack(column)  # `to_numpy` would import pandas
    return numbers if chosen is None else numbers[chosen]


def _word_counts(column: Any, chosen: Chosen) -> dict[str, int]:  # noqa: ANN401 (pyarrow ships no types)
    if column.null_count == len(column):
        return {}
    counted = _taken(column, chosen).drop_null().value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _taken(column: Any, chosen: Chosen) -> Any:  # noqa: ANN401 (pyarrow ships no types)
    return column if chosen is None else column.take(pa.array(chosen))
