"""A window's columns, counted where its rows are and compared with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from drift.aggregates.columns import INNER_EDGES, Area, Details, Group, current_column, is_single
from drift.aggregates.databases import Snapshot
from drift.aggregates.statements import Question, extremes, groups, most_frequent_new, values_inside
from drift.comparison.columns import NAMED_CATEGORIES, ReferenceColumn, present, value_text
from drift.comparison.compare import Reference, WindowColumns
from leeway.store.engine import Rows

MOST_VALUES: Final = 100_000
"""Up to so many values of a column are fetched at a time."""
FEW: Final = 4
"""If each value of the reference occurs so often on average, equal values of the window are counted first."""


def window_columns(
    snapshot: Snapshot,
    rows: Rows,
    reference: Reference,
    keys: Mapping[str, str],
    *,
    most_values: int = MOST_VALUES,
) -> WindowColumns:
    """Aggregate the columns of a window, one row per subject, against the reference.

    `keys` are the columns of `rows` by their names in the reference. The distances are those of
    `leeway.model.distances` over all rows, without reading them: the database returns at most one row for each
    distinct value of the reference, and then the values in the few intervals between these where that is not enough;
    if they are more than `most_values`, the intervals are divided first.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read now.
    """
    columns = [reference.columns[name] for name in keys]
    asked = [_question(column, key) for column, key in zip(columns, keys.values(), strict=True)]
    found: list[list[Group]] = [[] for _ in asked]
    for place, *group in snapshot.read(groups(rows, asked, snapshot.bucket)):
        found[place].append(Group(*group))
    areas = {
        place: Area(column, found[place], asked[place].centre)
        for place, column in enumerate(columns)
        if column.method == "wasserstein" and column.counts and any(each.bin is not None for each in found[place])
    }
    _divide(snapshot, rows, asked, areas, most_values)
    _close(snapshot, rows, asked, areas)
    result = {}
    for place, column in enumerate(columns):
        new: tuple[str, ...] = ()
        if column.kind == "category" and any(each.bin == 0 for each in found[place]):
            new = tuple(row[0] for row in snapshot.read(most_frequent_new(rows, asked[place], NAMED_CATEGORIES)))
        only = _only_value(snapshot, rows, asked[place]) if is_single(column, found[place]) else None
        result[column.name] = current_column(column, found[place], Details(areas.get(place), new, only))
    return WindowColumns(sum(each.n for each in found[0]), result)


def _only_value(snapshot: Snapshot, rows: Rows, question: Question) -> str | None:
    """The only value as it is stored; None if there are several, which are the same only once they are clipped."""
    ((least, greatest),) = snapshot.read(extremes(rows, question))
    return value_text(least, question.kind) if least == greatest else None


def _question(column: ReferenceColumn, key: str) -> Question:
    if column.kind == "category":
        return Question(key, "category", known=tuple(sorted(column.known)))
    points = tuple(sorted(column.counts))
    usual = None if column.low is None or column.high is None else (column.low, column.high)
    if column.method == "jensenshannon":
        return Question(key, column.kind, known=points, usual=usual)
    centre = float(np.mean(present(column.entries))) if points else 0.0
    repeats = len(points) * FEW <= column.entries.size
    return Question(key, column.kind, bounds=points, usual=usual, centre=centre, repeats=repeats)


def _divide(
    snapshot: Snapshot, rows: Rows, asked: Sequence[Question], areas: Mapping[int, Area], most_values: int
) -> None:
    """Divide the open intervals of a column until their values are few enough to fetch, or their area is too small."""
    while many := [place for place, area in areas.items() if area.is_open_for(most_values)]:
        finer = [replace(asked[place], bounds=areas[place].edges(INNER_EDGES)) for place in many]
        found: list[list[Group]] = [[] for _ in many]
        for place, *group in snapshot.read(groups(rows, finer, snapshot.bucket)):
            found[place].append(Group(*group))
        for place, counted in zip(many, found, strict=True):
            areas[place].divide(counted)


def _close(snapshot: Snapshot, rows: Rows, asked: Sequence[Question], areas: Mapping[int, Area]) -> None:
    """Fetch the values of the intervals that are still open."""
    wanted = {place: replace(asked[place], bounds=area.edges()) for place, area in areas.items() if area.edges()}
    if not wanted:
        return
    found: dict[int, list[tuple[int, float, int]]] = {place: [] for place in wanted}
    for place, *value in snapshot.read(values_inside(rows, wanted, snapshot.bucket)):
        found[place].append((value[0], value[1], value[2]))
    for place, values in found.items():
        areas[place].close(values)
