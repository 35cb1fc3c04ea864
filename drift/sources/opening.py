"""Opens a source for reading only: PostgreSQL, SQLite, a DuckDB file, Parquet files, or Delta tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import sqlalchemy as sa

from drift.aggregates.databases import DatabaseView, snapshot
from drift.sources.errors import SourceError
from leeway.store.engine import CONNECT_TIMEOUT_S, first_line

ColumnKind: TypeAlias = Literal["number", "integer", "flag", "text", "time", "naive time", "date", "json", "other"]
Dialect: TypeAlias = Literal["postgresql", "sqlite", "duckdb"]
TIMEOUT_S: Final = 60.0
"""A statement that takes longer is cancelled."""
_SUPPORTED: Final = (
    "use postgresql://USER@HOST/NAME, sqlite:///FILE, duckdb:///FILE, delta:FOLDER, or a Parquet file, folder or"
    " pattern"
)
_SAMPLE: Final = 500
_SQLITE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?")
_SQLITE_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class ColumnType:
    """What a column holds, and the database's own name of its type."""

    kind: ColumnKind
    name: str


class Source(Protocol):
    """An opened source. Its methods raise `SourceError`."""

    @property
    def name(self) -> str:
        """The URL without a password, or the path."""
        ...

    @property
    def dialect(self) -> Dialect:
        """What its statements are written in."""
        ...

    def tables(self) -> list[str]:
        """The tables and views that can be read."""
        ...

    def columns(self, table: str) -> Mapping[str, ColumnType]:
        """The columns of a table, in its order."""
        ...

    def from_clause(self, table: str) -> sa.FromClause:
        """The table in a statement; its columns are `column(name)`."""
        ...

    def snapshot(self) -> AbstractContextManager[DatabaseView]:
        """All that is read in the block is read in one transaction; then it is rolled back."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...


@contextmanager
def opened(url: str, *, timeout_s: float = TIMEOUT_S) -> Iterator[Source]:
    """Open a source for the length of a block.

    Raises:
        SourceError: the URL is none of a source, or the source does not exist.
    """
    source = open_source(url, timeout_s=timeout_s)
    try:
        yield source
    finally:
        source.close()


def open_source(url: str, *, timeout_s: float = TIMEOUT_S) -> Source:
    """Open a source; raises as `opened`."""
    if url.startswith("duckdb:"):
        return _duckdb_file(url)
    if url.startswith("delta:"):
        from drift.sources.delta import delta_source  # noqa: PLC0415 (deltalake and duckdb are optional)

        return delta_source(url.removeprefix("delta:"), url)
    if "://" not in url:
        from drift.sources.duckdb import parquet_source  # noqa: PLC0415 (duckdb is optional)

        return parquet_source(url)
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise SourceError(f"the source is not a valid URL; {_SUPPORTED}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend == "postgresql":
        return _postgresql(parsed, timeout_s)
    raise SourceError(f"unsupported source {backend!r}; {_SUPPORTED}")


def _duckdb_file(url: str) -> Source:
    from drift.sources.duckdb import duckdb_source  # noqa: PLC0415 (duckdb is optional)

    return duckdb_source(Path(url.removeprefix("duckdb:///")), url)


def _postgresql(url: sa.URL, timeout_s: float) -> Source:
    driven = url.set(drivername="postgresql+psycopg")
    options = f"-c statement_timeout={int(timeout_s * 1000)} -c default_transaction_read_only=on -c TimeZone=UTC"
    engine = sa.create_engine(
        driven,
        hide_parameters=True,
        poolclass=sa.NullPool,  # a worker's connection does not stay open between two runs
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options},
    )
    return SqlSource(engine, url.set(drivername="postgresql").render_as_string(hide_password=True), "postgresql")


def _sqlite(url: sa.URL) -> Source:
    name = url.render_as_string()
    path = Path(url.database or "")
    if not path.is_file():
        raise SourceError("there is no such file", source=name)
    readonly = f"sqlite:///file:{path.resolve().as_posix().replace('?', '%3f').replace('#', '%23')}?mode=ro&uri=true"
    return SqlSource(sa.create_engine(readonly, hide_parameters=True, poolclass=sa.NullPool), name, "sqlite")


@dataclass(frozen=True)
class SqlSource:
    """PostgreSQL or SQLite, see `Source`."""

    engine: sa.Engine
    name: str
    dialect: Dialect

    def tables(self) -> list[str]:
        """See `Source`. Tables outside the default schema have it before their name."""
        with _translated(self.name):
            found = sa.inspect(self.engine)
            default = found.default_schema_name
            schemas: list[str | None] = [None]
            if self.dialect == "postgresql":
                system = {"information_schema", default}
                schemas += [each for each in found.get_schema_names() if each not in system and each[:3] != "pg_"]
            return [
                f"{schema}.{table}" if schema else table
                for schema in schemas
                for table in sorted([*found.get_table_names(schema), *found.get_view_names(schema)])
            ]

    def columns(self, table: str) -> dict[str, ColumnType]:
        """See `Source`."""
        schema, name = _split(table)
        with _translated(self.name, table):
            try:
                found = sa.inspect(self.engine).get_columns(name, schema)
            except sa.exc.NoSuchTableError:
                raise no_table(self, table) from None
            declared = {each["name"]: each["type"] for each in found}
            if self.dialect == "sqlite":
                return self._sqlite_columns(table, declared)
        return {name: ColumnType(_declared_kind(each), self._type_name(each)) for name, each in declared.items()}

    def _sqlite_columns(self, table: str, declared: Mapping[str, Any]) -> dict[str, ColumnType]:
        """SQLite stores any type in any column: what the first rows hold counts, not what was declared."""
        rows = self.from_clause(table)
        columns: list[sa.ColumnElement[Any]] = [sa.column(name) for name in declared]
        with self.engine.connect() as connection:
            first = connection.execute(sa.select(*columns).select_from(rows).limit(_SAMPLE)).all()
        values = dict(zip(declared, zip(*first, strict=True), strict=True)) if first else {}
        return {
            name: ColumnType(_stored_kind(declared_as, values.get(name, ())), self._type_name(declared_as))
            for name, declared_as in declared.items()
        }

    def _type_name(self, declared: Any) -> str:  # noqa: ANN401 (SQLAlchemy's types)
        """The database's own name; none for a type that SQLAlchemy does not know."""
        unknown = isinstance(declared, sa.types.NullType)
        return "unknown" if unknown else str(declared.compile(dialect=self.engine.dialect)).lower()

    def from_clause(self, table: str) -> sa.FromClause:
        """See `Source`."""
        schema, name = _split(table)
        return sa.table(name, schema=schema)

    @contextmanager
    def snapshot(self) -> Iterator[DatabaseView]:
        """See `Source`."""
        with _translated(self.name), snapshot(self.engine) as view:
            yield view

    def close(self) -> None:
        """See `Source`."""
        self.engine.dispose()


def no_table(source: Source, table: str) -> SourceError:
    """The error for a table that does not exist; it names those that do."""
    found = source.tables()
    known = ", ".join(found[:10]) + (", …" if len(found) > 10 else "")  # noqa: PLR2004 (the ten shown)
    return SourceError(f"there is no such table; found: {known or 'none'}", source=source.name, table=table)


@contextmanager
def _translated(source: str, table: str | None = None) -> Iterator[None]:
    """Raise the driver's errors as `SourceError`."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise SourceError(first_line(error), source=source, table=table) from error


def _split(table: str) -> tuple[str | None, str]:
    schema, dot, name = table.rpartition(".")
    return (schema, name) if dot else (None, table)


def _declared_kind(declared: Any) -> ColumnKind:  # noqa: ANN401 (SQLAlchemy's types)
    kinds: tuple[tuple[type[Any] | tuple[type[Any], ...], ColumnKind], ...] = (
        (sa.Boolean, "flag"),
        (sa.Integer, "integer"),
        ((sa.Numeric, sa.Float), "number"),
        (sa.JSON, "json"),
        (sa.Date, "date"),
        ((sa.String, sa.Uuid, sa.Enum), "text"),
    )
    if isinstance(declared, sa.DateTime):
        return "time" if declared.timezone else "naive time"
    return next((kind for each, kind in kinds if isinstance(declared, each)), "other")


def _stored_kind(declared: Any, values: Sequence[Any]) -> ColumnKind:  # noqa: ANN401 (SQLAlchemy's types)
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if not present:
        return _declared_kind(declared)
    if kinds == {int}:
        return "flag" if isinstance(declared, sa.Boolean) and set(present) <= {0, 1} else "integer"
    if kinds <= {int, float}:
        return "number"
    if kinds == {str}:
        return _text_kind(present)
    return "other"


def _text_kind(values: Sequence[str]) -> ColumnKind:
    if all(_SQLITE_DATE.fullmatch(value) for value in values):
        return "date"
    if matches := [_SQLITE_TIME.fullmatch(value) for value in values]:
        zones = {match[3] if match else "?" for match in matches}
        if "?" not in zones:
            return "naive time" if zones == {None} else "time"
    return "json" if all(value.startswith("{") and value.endswith("}") for value in values) else "text"
