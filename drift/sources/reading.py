"""Reads what a run needs of a table besides aggregates: how many rows, by which model, and the values of some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from drift.aggregates.databases import DatabaseView
from drift.aggregates.statements import Selection, one_per_subject
from drift.result import Model
from drift.sources.performance import LabelledRows
from drift.sources.periods import Period
from drift.sources.statements import BY, labelled, last_named, sample, selection, totals
from drift.sources.table import PredictionTable
from leeway.model.drift_plan import Values, list_values
from leeway.schema import SCORE_COLUMN, Kind

MOST_VALUES: Final = 100_000
"""Of a period with more subjects an even sample is the reference, so that it fits into memory."""


@dataclass(frozen=True)
class Limits:
    """Up to how many rows of a period may be read, and how many of its labels count."""

    max_rows: int
    max_labels: int


@dataclass(frozen=True)
class Facts:
    """How many rows a period has, and which model made the last of them; `one_version` if it made all of them."""

    rows: int
    model: Model
    one_version: bool


def facts_of(view: DatabaseView, table: PredictionTable, period: Period, max_rows: int) -> Facts:
    """Count the rows of a period.

    Raises:
        SourceError: they are more than `max_rows`.
    """
    ((rows, least, greatest),) = view.read(totals(table, period, max_rows))
    if rows > max_rows:
        raise table.error(
            f"more than {max_rows:,} rows in {period}: choose a shorter period or window, or raise --max-rows"
        )
    given = table.mapping.model
    name, version = next((tuple(row) for row in view.read(last_named(table, period))), (None, None))
    return Facts(rows, Model(name or given.name or table.table, version or given.version), least == greatest)


def labelled_rows(view: DatabaseView, table: PredictionTable, period: Period, limit: int) -> LabelledRows | None:
    """The last labelled predictions of a period; None if the table has no labels or no scores."""
    has_labels = table.mapping.labels is not None or "label" in table.roles
    if not has_labels or "score" not in table.roles:
        return None
    return [(row[0], row[1]) for row in view.read(labelled(table, period, limit))]


def kinds_of(table: PredictionTable) -> dict[str, Kind]:
    """The kinds of the features, and of `_score` if there are scores."""
    kinds: dict[str, Kind] = {name: found.kind for name, found in table.features.items()}
    return kinds | ({SCORE_COLUMN: "number"} if "score" in table.roles else {})


def count_subjects(view: DatabaseView, chosen: Selection) -> int:
    """How many rows are left of a selection."""
    ((subjects,),) = view.read(sa.select(sa.func.count()).select_from(one_per_subject(chosen).subquery()))
    return int(subjects)


def values_of(
    view: DatabaseView, table: PredictionTable, chosen: Selection, names: Sequence[str], *, subjects: int, limit: int
) -> dict[str, Values]:
    """The values of up to `limit` subjects by column: of the first ones of the selection, and of `BY` as text."""
    kinds = kinds_of(table) | {BY: "category"}
    parts: list[list[Any]] = [[list_values((), kinds[name])] for name in names]
    for rows in view.parts(sample(chosen, subjects, limit)):
        for name, part, values in zip(names, parts, zip(*rows, strict=True), strict=False):
            part.append(list_values(values, kinds[name]))
    return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True)}


def read_values(
    view: DatabaseView, table: PredictionTable, period: Period, by: str | None
) -> tuple[int, dict[str, Values], Values | None]:
    """How many subjects a period has, the values of up to `MOST_VALUES` of them, and their texts in the column `by`."""
    names = list(kinds_of(table))
    extra = [] if by is None else [table.text(by).label(BY)]
    chosen = selection(table, period, names, extra=extra)
    subjects = count_subjects(view, chosen)
    read = [*names, *([BY] if by else [])]
    values = values_of(view, table, chosen, read, subjects=subjects, limit=MOST_VALUES)
    return subjects, values, values.pop(BY, None)
