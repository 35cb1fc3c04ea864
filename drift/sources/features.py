"""Which columns of a table are features, and of which kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from collections.abc import Mapping as Mapped
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from drift.sources.expressions import FEATURE_KINDS, Column
from drift.sources.mapping import CONTRACT_NAMES, NO_FEATURES, Mapping
from drift.sources.opening import ColumnType, Source
from leeway.schema import FEATURE_NAME, Feature, Kind, SchemaError

Report: TypeAlias = Callable[[str, str | None], None]
"""Takes what is wrong, and with which column."""
_SAMPLE: Final = 500


@dataclass(frozen=True)
class FeatureColumn:
    """Where a feature's values are: a column, or a path in a JSON column."""

    kind: Kind
    column: str
    path: tuple[str, ...] = ()


def find_features(
    source: Source,
    mapping: Mapping,
    table: str,
    types: Mapped[str, ColumnType],
    roles: Collection[str],
    wrong: Report,
) -> tuple[dict[str, FeatureColumn], dict[str, str]]:
    """The features of a mapping, or else all columns without a role that can be one; and why others cannot."""
    if not mapping.features:
        return _all_features(types, {*roles, *CONTRACT_NAMES.values(), *NO_FEATURES})
    features: dict[str, FeatureColumn] = {}
    for name, given in mapping.features.items():
        column, _, path = (given, "", "") if given in types else given.partition(".")
        if problem := _problem(name, given, types.get(column), types, is_inside=bool(path)):
            wrong(problem, column)
        elif not path:
            features[name] = FeatureColumn(FEATURE_KINDS[types[column].kind], column)
        elif kind := _kind_inside(source, table, column, keys := tuple(path.split("."))):
            features[name] = FeatureColumn(kind, column, keys)
        else:
            wrong(f"feature {name!r}: the first rows hold no number, no text, nor true or false at {path}", column)
    return features, {}


def _all_features(types: Mapped[str, ColumnType], taken: set[str]) -> tuple[dict[str, FeatureColumn], dict[str, str]]:
    features: dict[str, FeatureColumn] = {}
    skipped: dict[str, str] = {}
    for name, found in types.items():
        if name in taken:
            continue
        if found.kind not in FEATURE_KINDS:
            skipped[name] = f"its type is {found.name}"
        elif not FEATURE_NAME.fullmatch(name):
            skipped[name] = "its name cannot be a feature's: give it another under `features`"
        else:
            features[name] = FeatureColumn(FEATURE_KINDS[found.kind], name)
    return features, skipped


def _problem(
    name: str, given: str, found: ColumnType | None, types: Mapped[str, ColumnType], *, is_inside: bool
) -> str | None:
    """Why a column cannot be the feature; None if it can."""
    try:
        Feature(name, "number")
    except SchemaError as error:
        return str(error)
    if found is None:
        return f"there is no such column for feature {name!r}; found: {', '.join(types)}"
    if is_inside and found.kind not in ("json", "text", "other"):
        return f"feature {name!r} is at {given}, but the column is {found.name}, not JSON"
    if not is_inside and found.kind not in FEATURE_KINDS:
        return f"feature {name!r} must be a number, text, true or false, but the column is {found.name}"
    return None


def _kind_inside(source: Source, table: str, column: str, path: tuple[str, ...]) -> Kind | None:
    """The kind of the values at a path of a JSON column, by its first rows."""
    values: Column = sa.column(column)
    rows = sa.select(values).select_from(source.from_clause(table)).where(values.is_not(None)).limit(_SAMPLE)
    with source.snapshot() as view:
        found = [_inside(row[0], path) for row in view.read(rows)]
    kinds = {type(value) for value in found if value is not None}
    if kinds and kinds <= {int, float}:
        return "number"
    if kinds == {bool}:
        return "flag"
    return "category" if kinds == {str} else None


def _inside(value: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 (JSON)
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
