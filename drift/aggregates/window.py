"""A window's columns, counted where its rows are and compared with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from drift.aggregates.columns import INNER_EDGES, Area, current_column
from drift.aggregates.databases import DatabaseView
from drift.aggregates.question import Columns, Part, Question
from drift.aggregates.statements import Selection
from drift.comparison.columns import CurrentColumn, ReferenceColumn
from drift.comparison.compare import PreparedReference, WindowColumns

MOST_VALUES: Final = 100_000
"""Up to so many values of a column are fetched at a time."""
FEW: Final = 4
"""If each value of the reference occurs so often on average, equal values of the window are counted first."""


def window_columns(
    snapshot: DatabaseView,
    selection: Selection,
    reference: PreparedReference,
    keys: Mapping[str, str],
    *,
    most_values: int = MOST_VALUES,
) -> WindowColumns:
    """Aggregate the columns of a window, one row per subject, against the reference.

    `keys` are the columns of `selection` by their names in the reference. The distances are those of
    `leeway.model.distances` over all rows, without having them all in memory: counted are at most as many groups as the
    reference has distinct values, and then the values in the few intervals between these where that is not enough; if
    they are more than `most_values`, the intervals are divided first.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read now.
    """
    asked = [(reference.columns[name], _question(reference.columns[name], key)) for name, key in keys.items()]
    found, rows = zip(*_aggregated(snapshot.columns(selection), asked, most_values), strict=True)
    return WindowColumns(rows[0], dict(zip(keys, found, strict=True)))


def part_columns(
    snapshot: DatabaseView,
    selection: Selection,
    by: str,
    references: Mapping[str, PreparedReference],
    keys: Mapping[str, str],
) -> dict[str, WindowColumns]:
    """Aggregate each part of a window that has one of these texts in the column `by`, against a reference of its own.

    All parts are read together; a subject belongs to that of its last row. The rest is as above.
    """
    asked = [
        (reference.columns[name], replace(_question(reference.columns[name], key), part=Part(by, text)))
        for text, reference in references.items()
        for name, key in keys.items()
    ]
    found = iter(_aggregated(snapshot.columns(selection), asked, MOST_VALUES) if asked else ())
    parts = {text: [next(found) for _ in keys] for text in references}
    return {
        text: WindowColumns(columns[0][1], {name: column for name, (column, _) in zip(keys, columns, strict=True)})
        for text, columns in parts.items()
    }


def _aggregated(
    columns: Columns, compared: Sequence[tuple[ReferenceColumn, Question]], most_values: int
) -> list[tuple[CurrentColumn, int]]:
    """Each column that is compared, and the number of its rows."""
    asked = [question for _, question in compared]
    answers = columns.count(asked)
    areas = {
        place: Area(column, answer.bins, question.centre)
        for place, ((column, question), answer) in enumerate(zip(compared, answers, strict=True))
        if column.method == "wasserstein" and len(column.counts) and answer.bins.n.size
    }
    _divide(columns, asked, areas, most_values)
    _close(columns, asked, areas)
    return [
        (current_column(column, answer, areas.get(place)), answer.rows)
        for place, ((column, _), answer) in enumerate(zip(compared, answers, strict=True))
    ]


def _question(column: ReferenceColumn, key: str) -> Question:
    if column.kind == "category":
        return Question(key, "category", known=tuple(sorted(column.known)))
    usual = None if column.low is None or column.high is None else (column.low, column.high)
    points = column.counts.numbers
    if column.method == "jensenshannon":
        return Question(key, column.kind, known=tuple(points.tolist()), usual=usual)
    repeats = len(points) * FEW <= column.counts.total
    return Question(key, column.kind, bounds=points, usual=usual, centre=column.centre, repeats=repeats)


def _divide(columns: Columns, asked: Sequence[Question], areas: Mapping[int, Area], most_values: int) -> None:
    """Divide the open intervals of a column until their values are few enough to fetch, or their area is too small."""
    while many := [place for place, area in areas.items() if area.is_open_for(most_values)]:
        finer = [replace(asked[place], bounds=areas[place].edges(INNER_EDGES)) for place in many]
        for place, answer in zip(many, columns.count(finer), strict=True):
            areas[place].divide(answer.bins)


def _close(columns: Columns, asked: Sequence[Question], areas: Mapping[int, Area]) -> None:
    """Fetch the values of the intervals that are still open."""
    still_open = {place: area for place, area in areas.items() if area.edges().size}
    wanted = [replace(asked[place], bounds=area.edges()) for place, area in still_open.items()]
    if wanted:
        for area, inside in zip(still_open.values(), columns.inside(wanted), strict=True):
            area.close(inside)
