"""What differs between the databases in a source's statements: values inside JSON, and bounds of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from drift.sources.opening import ColumnKind, Dialect
from leeway.schema import Kind

Column: TypeAlias = sa.ColumnElement[Any]

FEATURE_KINDS: Final[dict[ColumnKind, Kind]] = {
    "number": "number",
    "integer": "integer",
    "flag": "flag",
    "text": "category",
}
"""The kind of a feature by that of its column."""
TIMES: Final[tuple[ColumnKind, ...]] = ("time", "naive time", "date")


def feature(column: Column, kind: Kind, dialect: Dialect) -> Column:
    """A column as values of the kind."""
    if kind == "category":
        return sa.cast(column, sa.Text)
    if kind == "flag":
        return sa.type_coerce(column, sa.Boolean)
    if dialect == "sqlite":  # a cast would make 0 of text
        return sa.type_coerce(column, sa.Double if kind == "number" else sa.BigInteger)
    return sa.cast(column, sa.Double if kind == "number" else sa.BigInteger)


def inside_json(column: Column, path: Sequence[str], kind: Kind, dialect: Dialect, *, is_struct: bool) -> Column:
    """The value at a path of a JSON column; NULL if it is of another kind. DuckDB has structs, too."""
    pointer = "$" + "".join(f'."{key}"' for key in path)
    if dialect == "sqlite":
        value, found = sa.func.json_extract(column, pointer), sa.func.json_type(column, pointer)
    elif dialect == "duckdb":
        document = sa.func.to_json(column) if is_struct else sa.cast(column, _Json("JSON"))
        value, found = sa.func.json_extract_string(document, pointer), sa.func.json_type(document, pointer)
    else:
        document = sa.cast(column, _Json("JSONB"))
        value = sa.func.jsonb_extract_path_text(document, *path)
        found = sa.func.jsonb_typeof(sa.func.jsonb_extract_path(document, *path))
    typed = sa.type_coerce(value, _TYPES[kind]) if dialect == "sqlite" else sa.cast(value, _TYPES[kind])
    return sa.case((sa.func.lower(found).in_(_JSON_TYPES[kind]), typed))


_TYPES: Final[dict[Kind, Any]] = {"number": sa.Double, "flag": sa.Boolean, "category": sa.Text}
_JSON_TYPES: Final[dict[Kind, tuple[str, ...]]] = {
    "number": ("number", "integer", "real", "double", "bigint", "ubigint", "hugeint"),
    "flag": ("boolean", "true", "false"),
    "category": ("string", "text", "varchar"),
}
"""The kinds of a JSON value by the databases' names of its type; JSON does not tell integers from numbers."""


class _Json(sa.types.UserDefinedType[Any]):
    """JSON as a type to cast to, without what SQLAlchemy makes of values."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:  # noqa: ANN401 (the base class's)
        """See the base class."""
        return self.name


def bound(moment: datetime, kind: ColumnKind, zone: tzinfo, dialect: Dialect, form: str = "") -> Column:
    """An aware time as what a column of times is compared with.

    Times without a zone are in `zone`. A date is the beginning of its day there. `form` is how SQLite stores times, a
    sample: it compares text.
    """
    local = moment.astimezone(zone)
    if kind == "date":
        is_midnight = (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)
        day = local.date() if is_midnight else local.date() + timedelta(days=1)
        return sa.literal(day.isoformat(), sa.Text) if dialect == "sqlite" else _cast(day.isoformat(), sa.Date())
    if dialect == "sqlite":
        shown = (local if kind == "naive time" else moment.astimezone(UTC)).replace(tzinfo=None, microsecond=0)
        return sa.literal(shown.isoformat("T" if "T" in form else " "), sa.Text)
    if kind == "naive time":
        return _cast(local.replace(tzinfo=None).isoformat(" "), sa.DateTime())
    return _cast(moment.astimezone(UTC).isoformat(" "), sa.DateTime(timezone=True))


def _cast(text: str, kind: sa.types.TypeEngine[Any]) -> Column:
    return sa.cast(sa.literal(text, sa.Text), kind)
