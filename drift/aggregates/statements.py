"""The statements that read a window or count in it, on SQLAlchemy Core.

A window is a statement that selects its rows, with a column per feature. PostgreSQL counts by itself (`groups`,
`values_inside`, `most_frequent_new`, `extremes`). SQLite and DuckDB only select what `drift.aggregates.batches` counts
(`stored_values`).

Three traps shape the expressions. NaN and infinities count as missing, as in `leeway.model.drift_plan.values_of`, and
no function that tests for them exists everywhere: neither lies between the least and the greatest double, because NaN
is NULL on SQLite and greater than all numbers elsewhere. Text in a column of numbers, which SQLite allows, does not lie
between them either, while a cast would make it 0. And sums are of differences from a centre, because the sum of a
million numbers around 1.7e15 has no digits left for how they differ.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from drift.aggregates.question import Part, Question, parts_of, stored_columns
from drift.comparison.columns import NAMED_CATEGORIES
from leeway.model.encoding import FLOAT32_MAX
from leeway.schema import Kind

Column: TypeAlias = sa.ColumnElement[Any]
Statement: TypeAlias = sa.Select[Any] | sa.CompoundSelect[Any]

_LARGEST: Final = sys.float_info.max
_RANK: Final = "#rank"  # never a column's name


@dataclass(frozen=True)
class LastRows:
    """The last row of each subject among `rows`; a row without a subject stands for itself.

    The last one has the greatest `order`; where that is NULL or the same, any of them counts.
    """

    rows: sa.Select[Any]
    subject: str
    order: str

    def select(self) -> sa.Select[Any]:
        """The statement that selects them."""
        inner = self.rows.subquery("rows_in_window")
        subject, order = inner.c[self.subject], inner.c[self.order]
        rank = sa.func.row_number().over(partition_by=subject, order_by=sa.nulls_last(order.desc())).label(_RANK)
        ranked = sa.select(inner, rank).subquery("ranked")
        columns = [column for column in ranked.c if column.name != _RANK]
        return sa.select(*columns).where(sa.or_(ranked.c[_RANK] == 1, ranked.c[self.subject].is_(None)))


Selection: TypeAlias = sa.Select[Any] | LastRows
"""A window: a statement with one row per subject, or with several and what makes one of them the last."""


def one_per_subject(selection: Selection) -> sa.Select[Any]:
    """The statement with one row per subject."""
    return selection.select() if isinstance(selection, LastRows) else selection


def groups(rows: sa.Select[Any], questions: Sequence[Question]) -> sa.CompoundSelect[Any]:
    """Select (question, bin, word, n, total, least, greatest, outside) for each question and each of its bins.

    `question` is the place of the question. `bin` is None for missing values; for known categories it is 1, and `word`
    is the category. Otherwise it is the place of `drift.aggregates.question.Bins`, where the figures are explained.
    `outside` is the number of values outside the usual range.
    """
    columns = _columns(rows, questions)
    return sa.union_all(*(_group(columns[place], place, each) for place, each in enumerate(questions)))


def values_inside(rows: sa.Select[Any], questions: Sequence[Question]) -> sa.CompoundSelect[Any]:
    """Select (question, bin, value, n) for the distinct values of the odd bins: bounds alternate in and out."""
    branches = []
    for place, (question, value) in enumerate(zip(questions, _columns(rows, questions), strict=True)):
        inner = sa.select(_bin(value, question).label("bin"), value.label("value")).subquery()
        key: Column = sa.literal_column(str(place)).label("question")
        columns = [key, inner.c.bin, inner.c.value, sa.func.count().label("n")]
        branches.append(sa.select(*columns).where(inner.c.bin % 2 == 1).group_by(inner.c.bin, inner.c.value))
    return sa.union_all(*branches)


def most_frequent_new(rows: sa.Select[Any], question: Question) -> sa.Select[Any]:
    """Select (value, n) of the categories that are not known, most frequent first, then by value."""
    (value,) = _columns(rows, [question])
    order = sa.func.count().desc(), value
    selected: list[Column] = [value, sa.func.count().label("n")]
    return (
        sa.select(*selected)
        .where(value.is_not(None), value.not_in(question.known or ()))
        .group_by(value)
        .order_by(*order)
        .limit(NAMED_CATEGORIES)
    )


def extremes(rows: sa.Select[Any], question: Question) -> sa.Select[Any]:
    """Select the least and the greatest of the values that are present, not clipped."""
    inner = rows.subquery("rows_of_subjects")
    column = inner.c[question.column]
    value = category(column) if question.kind == "category" else number(column, question.kind)
    given: dict[Kind, Column] = {"number": sa.cast(column, sa.Double), "integer": column}
    as_given = given.get(question.kind, value)  # PostgreSQL has no least flag
    selected: list[Column] = [sa.func.min(as_given), sa.func.max(as_given)]
    in_part = [] if question.part is None else [inner.c[question.part.column] == question.part.text]
    return sa.select(*selected).where(value.is_not(None), *in_part)


def stored_values(rows: sa.Select[Any], questions: Sequence[Question]) -> sa.Select[Any]:
    """Select `stored_columns`, then the column that the parts are by, if there are any.

    Numbers are as they are stored, flags 1 and 0, categories text.
    """
    inner = rows.subquery("rows_of_subjects")
    by = [inner.c[each.column] for each in parts_of(questions)[:1]]
    return sa.select(*(_stored(inner.c[name], kind) for name, kind in stored_columns(questions)), *by)


def _stored(column: Column, kind: Kind) -> Column:
    if kind == "category":
        return category(column)
    if kind == "flag":
        return number(column, kind)
    return sa.case((column.between(_double(-_LARGEST), _double(_LARGEST)), column))


def number(column: Column, kind: Kind) -> Column:
    """A column as a 64-bit float, clipped to the range of 32-bit floats; NULL for NaN and infinities.

    A flag is 1 or 0.
    """
    if kind == "flag":
        return sa.case((column.is_(sa.true()), _double(1.0)), (column.is_(sa.false()), _double(0.0)))
    return sa.case(
        (column.between(_double(-FLOAT32_MAX), _double(FLOAT32_MAX)), sa.cast(column, sa.Double)),
        (column.between(_double(FLOAT32_MAX), _double(_LARGEST)), _double(FLOAT32_MAX)),
        (column.between(_double(-_LARGEST), _double(-FLOAT32_MAX)), _double(-FLOAT32_MAX)),
    )


def category(column: Column) -> Column:
    """A column as text; NULL for empty text."""
    return sa.func.nullif(sa.cast(column, sa.Text), "")


def _double(value: float) -> Column:
    return sa.literal(value, sa.Double)


def _columns(rows: sa.Select[Any], questions: Sequence[Question]) -> list[Column]:
    """A column for each question, of the window or of its part. The window is read once, and each part of it once."""
    inner, stored, parts = rows.subquery("rows_of_subjects"), stored_columns(questions), parts_of(questions)
    columns: list[Column] = [
        (category(inner.c[name]) if kind == "category" else number(inner.c[name], kind)).label(f"c{place}")
        for place, (name, kind) in enumerate(stored)
    ]
    by = [inner.c[each.column].label("part") for each in parts[:1]]
    subjects = sa.select(*columns, *by).cte("subjects").prefix_with("MATERIALIZED")
    of_part: dict[Part | None, sa.CTE] = {None: subjects}
    for place, part in enumerate(parts):
        chosen = sa.select(*(column for column in subjects.c if column.name != "part"))
        of_part[part] = chosen.where(subjects.c.part == part.text).cte(f"part{place}").prefix_with("MATERIALIZED")
    return [of_part[each.part].c[f"c{stored.index((each.column, each.kind))}"] for each in questions]


def _group(column: Column, place: int, question: Question) -> sa.Select[Any]:
    value: Column = column
    times: Column = sa.literal_column("1")
    if question.repeats:
        source = sa.select(column.label("value"), sa.func.count().label("times")).group_by(column).subquery()
        value, times = source.c.value, source.c.times
    word, figures = _figures(value, times, question)
    columns = [
        _bin(value, question).label("bin"),
        word.label("word"),
        sa.cast(sa.func.sum(times), sa.BigInteger).label("n"),
        *figures,
    ]
    return sa.select(sa.literal_column(str(place)).label("question"), *columns).group_by(sa.text("2"), sa.text("3"))


def _figures(value: Column, times: Column, question: Question) -> tuple[Column, list[Column]]:
    """The word, and the total, the extremes and the number outside."""
    if question.kind == "category":
        nothing = sa.cast(sa.null(), sa.Double)
        return sa.case((value.in_(question.known or ()), value)), [nothing] * 3 + [sa.literal_column("0")]
    low, high = question.usual or (-_LARGEST, _LARGEST)
    is_outside = sa.or_(value < _double(low), value > _double(high))
    return sa.cast(sa.null(), sa.Text), [
        sa.func.sum(times * (value - _double(question.centre))),
        sa.func.min(value),
        sa.func.max(value),
        sa.cast(sa.func.sum(sa.case((is_outside, times), else_=0)), sa.BigInteger),
    ]


def _bin(value: Column, question: Question) -> Column:
    if question.known is None:
        return sa.case((value.is_not(None), _bucket(value, question.bounds.tolist()) if question.bounds.size else 0))
    is_known = value.in_(question.known)
    place = 1 if question.kind == "category" else _bucket(value, list(question.known))
    return sa.case((is_known, place), (value.is_not(None), 0))


def _bucket(value: Column, bounds: list[float]) -> Column:
    """How many of the bounds are at most the value."""
    return sa.func.width_bucket(value, sa.bindparam(None, bounds, postgresql.ARRAY(sa.Double)))
