"""Checks a source against its mapping: everything that a run would stumble over."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from drift.aggregates.statements import one_per_subject
from drift.sources.errors import SourceError
from drift.sources.expressions import Column
from drift.sources.mapping import Mapping
from drift.sources.opening import Source
from drift.sources.periods import Period
from drift.sources.reading import facts_of
from drift.sources.statements import labelled, selection, totals, traced
from drift.sources.table import PredictionTable, find_columns
from leeway.schema import SCORE_COLUMN

_ALL = Period()


def check(source: Source, mapping: Mapping) -> tuple[list[SourceError], list[str]]:
    """What is wrong, and if nothing is, what was found."""
    table, problems = find_columns(source, mapping)
    if table is None or "time" not in table.roles:
        return problems, []
    problems += _label_problems(table)
    if problems:
        return problems, []
    try:
        facts = _try(table)
    except SourceError as error:
        return [error], []
    return [], facts


def count_rows(table: PredictionTable, period: Period, max_rows: int) -> int:
    """How many rows a period has.

    Raises:
        SourceError: there are none, more than `max_rows`, or they cannot be read now.
    """
    with table.snapshot() as view:
        rows = facts_of(view, table, period, max_rows).rows
    if not rows:
        raise table.error(f"no rows in {period}")
    return rows


def _label_problems(table: PredictionTable) -> list[SourceError]:
    """What is wrong with the table of labels."""
    labels = table.mapping.labels
    if labels is None:
        return []
    try:
        theirs = table.source.columns(labels.table)
    except SourceError as error:
        return [error]
    missing = [name for name in [labels.label, *labels.join.values()] if name not in theirs]
    problems = [
        SourceError("there is no such column", source=table.source.name, table=labels.table, column=name)
        for name in missing
    ]
    return problems + [
        table.error("there is no such column to join labels by", name)
        for name in labels.join
        if name not in table.types
    ]


def _try(table: PredictionTable) -> list[str]:
    """Run each kind of statement on a few rows, and describe the table."""
    moment = table.column("time")
    ends: list[Column] = [sa.func.min(moment), sa.func.max(moment), sa.func.count()]
    rows = sa.select(*ends).select_from(table.source.from_clause(table.table))
    with table.snapshot() as view:
        ((first, last, count),) = view.read(rows)
        view.read(totals(table, _ALL, 1))
        view.read(one_per_subject(selection(table, _ALL, [*table.features, SCORE_COLUMN])).limit(1))
        view.read(traced(table, _ALL, 1))
        view.read(labelled(table, _ALL, 1))
    return [
        f"{table.source.name}, table {table.table}: {count:,} rows from {first} to {last}",
        *_columns(table),
        *(f"column {name} is not a feature: {why}" for name, why in table.skipped.items()),
    ]


def _columns(table: PredictionTable) -> Sequence[str]:
    roles = ", ".join(f"{role} {name}" for role, name in table.roles.items())
    features = ", ".join(f"{name} ({found.kind})" for name, found in table.features.items())
    return [f"columns: {roles}", f"{len(table.features)} features: {features}"]
