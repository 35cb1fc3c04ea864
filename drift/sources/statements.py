"""The statements that read a table of predictions in a period of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from drift.aggregates.statements import LastRows, Selection, one_per_subject
from drift.sources.expressions import Column, bound
from drift.sources.mapping import Role
from drift.sources.periods import Period
from drift.sources.table import PredictionTable
from leeway.schema import SCORE_COLUMN

SUBJECT, ORDER, SCORE, LABEL, TIME, BY = "#subject", "#order", "#score", "#label", "#time", "#by"
"""Columns of the statements, which never have a feature's name."""
_PLACE: Final = "#place"


def within(table: PredictionTable, period: Period) -> list[Column]:
    """The conditions of the rows in a period that the mapping does not leave out."""
    moment, mapping = table.column("time"), table.mapping
    conditions: list[Column] = []
    for at, is_end in ((period.start, False), (period.end, True)):
        if at is not None and moment is not None:
            limit = bound(at, table.time_kind, mapping.zone, table.source.dialect, table.time_form)
            conditions.append(moment < limit if is_end else moment >= limit)
    if mapping.where:
        conditions.append(sa.literal_column(f"({mapping.where})"))
    return conditions


def totals(table: PredictionTable, period: Period, most: int) -> sa.Select[Any]:
    """Select the number of rows, at most one more than `most`, and the least and the greatest version."""
    version = _or_null(table, "model_version", sa.Text).label("version")
    rows = _rows(table, [version], within(table, period)).limit(most + 1).subquery("rows_in_period")
    counted: list[Column] = [sa.func.count(), sa.func.min(rows.c.version), sa.func.max(rows.c.version)]
    return sa.select(*counted).select_from(rows)


def last_named(table: PredictionTable, period: Period) -> sa.Select[Any]:
    """Select name and version of the model that made the last prediction."""
    moment = table.column("time")
    named = [_or_null(table, role, sa.Text) for role in ("model_name", "model_version")]
    rows = _rows(table, named, within(table, period))
    return (rows if moment is None else rows.order_by(moment.desc())).limit(1)


def selection(
    table: PredictionTable,
    period: Period,
    names: Sequence[str],
    *,
    extra: Sequence[Column] = (),
) -> Selection:
    """The last row of each subject: the named features, the score as `SCORE`, and `extra` columns."""
    columns: list[Column] = [table.value(name).label(name) for name in names if name != SCORE_COLUMN]
    score = table.column("score")
    if score is not None and SCORE_COLUMN in names:
        columns.append(sa.cast(score, sa.Double).label(SCORE))
    columns += extra
    subject, order = table.column("subject"), table.column("order")
    conditions = within(table, period)
    if subject is None:
        return _rows(table, columns, conditions)
    order = table.column("time") if order is None else order
    ordered = sa.null() if order is None else order
    return LastRows(_rows(table, [*columns, subject.label(SUBJECT), ordered.label(ORDER)], conditions), SUBJECT, ORDER)


def segment_counts(table: PredictionTable, period: Period, by: str, limit: int) -> sa.Select[Any]:
    """Select (text, rows) of the column's values in a period, the most frequent first."""
    rows = _rows(table, [table.text(by).label("text")], within(table, period)).subquery("rows_in_period")
    counted: Column = sa.func.count()
    chosen = sa.select(rows.c.text, counted.label("n")).where(rows.c.text.is_not(None)).group_by(rows.c.text)
    return chosen.order_by(counted.desc(), rows.c.text).limit(limit)


def sample(chosen: Selection, rows: int, limit: int) -> sa.Select[Any]:
    """Of so many rows every k-th, so that at most `limit` are left; all if they are fewer."""
    statement = one_per_subject(chosen)
    step = -(-rows // limit)
    if step <= 1:
        return statement
    placed = sa.select(statement.subquery("subjects"), sa.func.row_number().over().label(_PLACE)).subquery("placed")
    return sa.select(*(column for column in placed.c if column.name != _PLACE)).where(placed.c[_PLACE] % step == 0)


def traced(table: PredictionTable, period: Period, limit: int) -> sa.Select[Any]:
    """Select (trace id, span id, id, subject, features…) of the last predictions that have a trace."""
    trace, span, moment = (table.column(role) for role in ("trace_id", "span_id", "time"))
    roles = [_or_null(table, role, sa.Text) for role in ("trace_id", "span_id", "id", "subject")]
    conditions = [*within(table, period), *(each.is_not(None) for each in (trace, span) if each is not None)]
    rows = _rows(table, [*roles, *(table.value(name) for name in table.features)], conditions)
    return (rows if moment is None else rows.order_by(moment.desc())).limit(limit)


def labelled(table: PredictionTable, period: Period, limit: int) -> sa.Select[Any]:
    """Select (label, score) of the last labelled predictions, newest first, one per subject."""
    labels, moment = table.mapping.labels, table.column("time")
    score = _or_null(table, "score", sa.Double).label(SCORE)
    ordered = (sa.null() if moment is None else moment).label(TIME)
    subject = _or_null(table, "subject", sa.Text).label(SUBJECT)
    columns = [score, ordered, subject]
    if labels is None:
        label = _or_null(table, "label", None)
        rows = _rows(table, [label.label(LABEL), *columns], [*within(table, period), label.is_not(None)])
    else:
        keys: list[Column] = [sa.column(name).label(f"#key{place}") for place, name in enumerate(labels.join)]
        made = _rows(table, [*columns, *keys], within(table, period)).subquery("made")
        theirs: list[Column] = [
            sa.column(name).label(f"#key{place}") for place, name in enumerate(labels.join.values())
        ]
        outcome: Column = sa.column(labels.label).label(LABEL)
        known = sa.select(outcome, *theirs).select_from(table.source.from_clause(labels.table)).subquery("known")
        matches = [made.c[f"#key{place}"] == known.c[f"#key{place}"] for place in range(len(keys))]
        found = [known.c[LABEL], *(made.c[name] for name in (SCORE, TIME, SUBJECT))]
        rows = sa.select(*found).join_from(made, known, sa.and_(*matches)).where(known.c[LABEL].is_not(None))
    last = one_per_subject(LastRows(rows, SUBJECT, TIME)).subquery("last")
    return sa.select(last.c[LABEL], last.c[SCORE]).order_by(last.c[TIME].desc()).limit(limit)


def _rows(table: PredictionTable, columns: Sequence[Column], conditions: Sequence[Column]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(table.source.from_clause(table.table)).where(*conditions)


def _or_null(table: PredictionTable, role: Role, kind: Any) -> Column:  # noqa: ANN401 (SQLAlchemy's types)
    """A role's column, or NULL where the table does not have it."""
    column = table.column(role)
    if column is None:
        return sa.cast(sa.null(), kind or sa.Integer)
    return column if kind is None else sa.cast(column, kind)
