"""A table of predictions: a source and its mapping, resolved to columns that exist and have suitable types."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as Mapped
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from drift.aggregates.databases import DatabaseView
from drift.sources.errors import SourceError
from drift.sources.expressions import TIMES, Column, feature, inside_json
from drift.sources.features import FeatureColumn, Report, find_features
from drift.sources.mapping import ROLES, Mapping, Role
from drift.sources.opening import ColumnKind, ColumnType, Source

ACCEPTED: Final[Mapped[Role, tuple[ColumnKind, ...]]] = {
    "time": TIMES,
    "order": ("integer", "number", "text", *TIMES),
    "score": ("number", "integer"),
    "prediction": ("number", "integer", "flag", "text"),
    "label": ("integer", "flag", "number"),
    "latency": ("number", "integer"),
    "trace_id": ("text",),
    "span_id": ("text",),
}
"""The kinds of column that a role may have; any kind for others."""
_WORDS: Final[Mapped[ColumnKind, str]] = {
    "number": "numbers", "integer": "whole numbers", "flag": "true and false", "text": "text", "time": "times",
    "naive time": "times without a zone", "date": "dates", "json": "JSON", "other": "another type",
}  # fmt: skip
_SAMPLE: Final = 500
_TYPES: Final[Mapped[ColumnKind, sa.types.TypeEngine[Any]]] = {
    "time": sa.DateTime(timezone=True),
    "naive time": sa.DateTime(),
    "date": sa.Date(),
    "integer": sa.BigInteger(),
}
"""Types that make a difference where columns are compared; SQLite compares times as text."""


@dataclass(frozen=True)
class PredictionTable:
    """A table whose columns were found. `time_form` is one of its times as SQLite stores them."""

    source: Source
    mapping: Mapping
    table: str
    types: Mapped[str, ColumnType]
    roles: Mapped[Role, str]
    features: Mapped[str, FeatureColumn]
    skipped: Mapped[str, str] = field(default_factory=dict)
    time_form: str = ""

    def column(self, role: Role) -> Column | None:
        """A role's column in a statement; None if the table does not have it."""
        name = self.roles.get(role)
        if name is None:
            return None
        return sa.column(name, None if self.source.dialect == "sqlite" else _TYPES.get(self.types[name].kind))

    @property
    def time_kind(self) -> ColumnKind:
        """What the column of times holds."""
        return self.types[self.roles["time"]].kind

    def value(self, name: str) -> Column:
        """A feature's values in a statement."""
        found = self.features[name]
        column: Column = sa.column(found.column)
        dialect = self.source.dialect
        if found.path:
            is_struct = self.types[found.column].name.startswith("struct")
            return inside_json(column, found.path, found.kind, dialect, is_struct=is_struct)
        return feature(column, found.kind, dialect)

    def text(self, name: str) -> Column:
        """The values of a feature, or else of a column, as text.

        Raises:
            SourceError: there is neither.
        """
        if name in self.features:
            return sa.cast(self.value(name), sa.Text)
        if name not in self.types:
            raise self.error(f"there is no such column or feature; found: {', '.join(self.types)}", name)
        return sa.cast(sa.column(name), sa.Text)

    @contextmanager
    def snapshot(self) -> Iterator[DatabaseView]:
        """All that is read in the block is read in one transaction; errors name the table, too."""
        try:
            with self.source.snapshot() as view:
                yield view
        except SourceError as error:
            raise self.error(error.problem, error.column) from error

    def error(self, problem: str, column: str | None = None) -> SourceError:
        """What is wrong with this table."""
        return SourceError(problem, source=self.source.name, table=self.table, column=column)


def prediction_table(source: Source, mapping: Mapping, *, needs_time: bool = True) -> PredictionTable:
    """Find the columns of a mapping; without `needs_time` a column of times is optional.

    Raises:
        SourceError: the first thing that is wrong; `find_columns` returns all of them.
    """
    found, problems = find_columns(source, mapping, needs_time=needs_time)
    if problems:
        raise problems[0]
    if found is None:
        raise SourceError("no table", source=source.name)
    return found


def find_columns(
    source: Source, mapping: Mapping, *, needs_time: bool = True
) -> tuple[PredictionTable | None, list[SourceError]]:
    """The table with what was found of its columns, and everything that is wrong; None if there is no such table."""
    try:
        table = mapping.table or _only_table(source)
        types = source.columns(table)
    except SourceError as error:
        return None, [error]
    problems: list[SourceError] = []

    def wrong(problem: str, column: str | None = None) -> None:
        problems.append(SourceError(problem, source=source.name, table=table, column=column))

    roles = dict(_roles(mapping, types, wrong, required={*mapping.columns, *(["time"] if needs_time else [])}))
    features, skipped = find_features(source, mapping, table, types, roles.values(), wrong)
    if not features and not mapping.features:
        wrong("no column is a feature: list them under `features` in the mapping")
    form = _time_form(source, table, types, roles, wrong) if source.dialect == "sqlite" else ""
    return PredictionTable(source, mapping, table, types, roles, features, skipped, form), problems


def _only_table(source: Source) -> str:
    tables = source.tables()
    if len(tables) != 1:
        known = ", ".join(tables[:10]) or "none"
        raise SourceError(f"name the `table` in the mapping; found: {known}", source=source.name)
    return tables[0]


def _roles(
    mapping: Mapping, types: Mapped[str, ColumnType], wrong: Report, *, required: Collection[str]
) -> Iterable[tuple[Role, str]]:
    """The roles whose columns exist and have suitable types."""
    for role in ROLES:
        name = mapping.column(role)
        if name not in types:
            if role in required:
                hint = "name it under `columns` in the mapping; " if role not in mapping.columns else ""
                wrong(f"there is no such column for `{role}`; {hint}found: {', '.join(types)}", name)
            continue
        found, accepted = types[name], ACCEPTED.get(role)
        if accepted is None or found.kind in accepted:
            yield role, name
        elif role in required:
            wanted = " or ".join(dict.fromkeys(_WORDS[kind] for kind in accepted))
            wrong(
                f"`{role}` must be {wanted}, but the column is {found.name or 'of no type'}{_hint(role, found)}", name
            )


def _hint(role: Role, found: ColumnType) -> str:
    if role == "time" and found.kind == "text":
        return ", and text with different offsets cannot be compared: use a view that casts it to a timestamp"
    return ""


def _time_form(
    source: Source,
    table: str,
    types: Mapped[str, ColumnType],
    roles: Mapped[Role, str],
    wrong: Report,
) -> str:
    """How SQLite stores the times: it compares them as text, so all must have one form."""
    name = roles.get("time")
    if name is None:
        return ""
    column: Column = sa.column(name)
    rows = sa.select(column).select_from(source.from_clause(table)).where(column.is_not(None))
    with source.snapshot() as view:
        found = [view.read(rows.order_by(order).limit(_SAMPLE)) for order in (column.asc(), column.desc())]
    values = [str(row[0]) for part in found for row in part]
    ends = {value[19:].lstrip(".0123456789") for value in values} if types[name].kind != "date" else {""}
    if len(ends) > 1 or not ends <= {"", "Z", "+00:00", " +00:00"}:
        wrong("holds times with different offsets as text, which SQLite cannot compare: store them in UTC", name)
    return values[0] if values else ""
