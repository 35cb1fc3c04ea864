"""A DuckDB file, or Parquet files read by DuckDB, as a source. Needs the extra `leeway[duckdb]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa

from drift.aggregates.databases import DatabaseView
from drift.aggregates.statements import Column
from drift.sources.errors import SourceError
from drift.sources.opening import ColumnKind, ColumnType, no_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PARQUET_TABLE: Final = "parquet"
"""What Parquet files are called as a table."""
_INTEGERS: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_NUMBERS: Final = frozenset({"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"})
_KINDS: Final[dict[str, ColumnKind]] = {
    **dict.fromkeys(_INTEGERS, "integer"),
    **dict.fromkeys(_NUMBERS, "number"),
    "BOOLEAN": "flag",
    "VARCHAR": "text",
    "UUID": "text",
    "TIMESTAMP WITH TIME ZONE": "time",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "naive time"),
    "DATE": "date",
    "JSON": "json",
}


def duckdb_source(path: Path, name: str) -> DuckDBSource:
    """Open a DuckDB file read-only.

    Raises:
        SourceError: DuckDB is not installed, the file does not exist, or another process writes to it.
    """
    if not path.is_file():
        raise SourceError("there is no such file", source=name)
    with _translated(name):
        return DuckDBSource(_connect(str(path), name), name)


def parquet_source(pattern: str) -> DuckDBSource:
    """Open a Parquet file, the Parquet files in a folder, or those that match a pattern.

    Raises:
        SourceError: DuckDB is not installed, or there is no such file.
    """
    path = Path(pattern)
    files = str(path / "**" / "*.parquet") if path.is_dir() else pattern
    connection = _connect(":memory:", pattern)
    with _translated(pattern):
        found = connection.execute("SELECT count(*) FROM glob(?)", [files]).fetchall()[0][0]
    if not found:
        connection.close()
        raise SourceError("there is no Parquet file", source=pattern)
    return DuckDBSource(connection, pattern, files)


def memory_source(name: str, views: Mapping[str, str]) -> DuckDBSource:
    """A source whose tables are these statements.

    Raises:
        SourceError: DuckDB is not installed, or a statement fails.
    """
    connection = _connect(":memory:", name)
    try:
        with _translated(name):
            for view, statement in views.items():
                quoted = view.replace('"', '""')
                connection.execute(f'CREATE VIEW "{quoted}" AS {statement}')
    except SourceError:
        connection.close()
        raise
    return DuckDBSource(connection, name)


def _connect(database: str, name: str) -> DuckDBPyConnection:
    try:
        import duckdb  # noqa: PLC0415 (optional)
    except ImportError:
        raise SourceError("DuckDB is not installed: install leeway[duckdb]", source=name) from None
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,  # no downloads
        "autoload_known_extensions": False,
        "temp_directory": "",  # DuckDB would spill into a folder next to the file
    }
    with _translated(name):
        connection = duckdb.connect(database, read_only=database != ":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")  # standard output may be for JSON
    return connection


@dataclass(frozen=True)
class DuckDBSource:
    """See `drift.sources.opening.Source`. `files` is a pattern of Parquet files, None for a DuckDB file."""

    connection: DuckDBPyConnection
    name: str
    files: str | None = None
    dialect: Literal["duckdb"] = "duckdb"

    def tables(self) -> list[str]:
        """See `Source`."""
        if self.files is not None:
            return [PARQUET_TABLE]
        with _translated(self.name):
            found = self.connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL"
            ).fetchall()
        return [name if schema == "main" else f"{schema}.{name}" for schema, name in found]

    def columns(self, table: str) -> dict[str, ColumnType]:
        """See `Source`."""
        if table not in self.tables():
            raise no_table(self, table)
        from drift.aggregates.duckdb import duckdb_text  # noqa: PLC0415 (optional)

        rows = sa.select(sa.text("*")).select_from(self.from_clause(table))
        with _translated(self.name, table):
            found = self.connection.execute(f"DESCRIBE {duckdb_text(rows)}").fetchall()
        return {row[0]: ColumnType(_kind(row[1]), row[1].lower()) for row in found}

    def from_clause(self, table: str) -> sa.FromClause:
        """See `Source`."""
        if self.files is not None:
            options: Column = sa.literal_column("union_by_name := true, hive_partitioning := false")
            return sa.func.read_parquet(self.files, options).table_valued(name=PARQUET_TABLE)
        schema, dot, name = table.rpartition(".")
        return sa.table(name, schema=schema) if dot else sa.table(table)

    @contextmanager
    def snapshot(self) -> Iterator[DatabaseView]:
        """See `Source`."""
        from drift.aggregates.duckdb import RowsChanged, duckdb_snapshot  # noqa: PLC0415 (optional)

        try:
            with _translated(self.name), duckdb_snapshot(self.connection) as view:
                yield view
        except RowsChanged as error:
            raise SourceError(f"the files changed while they were read: {error}", source=self.name) from error

    def close(self) -> None:
        """See `Source`."""
        self.connection.close()


def _kind(name: str) -> ColumnKind:
    if name.startswith("DECIMAL"):
        return "number"
    if name.startswith("ENUM"):
        return "text"
    return _KINDS.get(name, "json" if name.startswith("STRUCT") else "other")


@contextmanager
def _translated(source: str, table: str | None = None) -> Iterator[None]:
    """Raise DuckDB's errors as `SourceError`."""
    import duckdb  # noqa: PLC0415 (optional)

    try:
        yield
    except duckdb.Error as error:
        raise SourceError(_explained(str(error)), source=source, table=table) from error


def _explained(message: str) -> str:
    """DuckDB's message in one line, with what to do."""
    first = message.strip().splitlines()[0]
    if "Could not set lock" in message or "Conflicting lock" in message:
        return "another process writes to the file: DuckDB lets nobody read it meanwhile. Read a copy, or try later"
    if "No magic bytes" in message or "too small to be a Parquet file" in message or "footer" in message:
        return f"a Parquet file is damaged or half-written: {first}"
    return first
