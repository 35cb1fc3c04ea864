"""The engine, and how many rows at once get in. SQLite in a file is the embedded default, PostgreSQL the stack's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateColumn

from leeway.tables import Tables

Engine: TypeAlias = sa.Engine
"""An opened database, for those who hand it on and speak no SQL."""

CONNECT_TIMEOUT_S = 2
BUSY_TIMEOUT_S = 5
CHUNK_ROWS = 5_000
SQLITE_ROWS = 200
SQLITE_VARIABLES = 32_766
"""What SQLite takes in one statement unless it was built for less, https://sqlite.org/limits.html"""


class DatabaseError(Exception):
    """The database could not be reached or refused; `__cause__` is the driver's error."""


def open_engine(url: str) -> sa.Engine:
    """Make the engine; no connection is opened yet. A SQLite file's folder is made where it is missing.

    Raises:
        DatabaseError: the address cannot be read, names no database we know, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        make = _ENGINES[parsed.get_backend_name()]
        return make(parsed)
    except KeyError as error:
        raise DatabaseError(
            f"LEEWAY_DATABASE_URL names {error}, which Leeway does not know; {_WHAT_WOULD_DO}"
        ) from None
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError, OSError) as error:
        raise DatabaseError(f"LEEWAY_DATABASE_URL cannot be used: {error}; {_WHAT_WOULD_DO}") from error


_WHAT_WOULD_DO = "give sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        hide_parameters=True,  # a traceback names no customer
        pool_pre_ping=True,
        pool_size=10,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": "-c statement_timeout=60000"},
    )


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


_ENGINES = {"sqlite": _sqlite_engine, "postgresql": _postgresql_engine}


@dataclass(frozen=True)
class ServerFacts:
    """What a database server says of itself. `now` is None for SQLite, which has no clock of its own."""

    product: str
    version: str
    now: datetime | None
    size_bytes: int


def server_facts(engine: sa.Engine) -> ServerFacts:
    """Ask the database for its version, its clock and its size.

    Raises:
        DatabaseError: it could not be reached.
    """
    with translated(), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            pages = connection.exec_driver_sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return ServerFacts("SQLite", sqlite3.sqlite_version, None, int(pages.scalar_one()))
        version, now, size_bytes = connection.exec_driver_sql(
            "SELECT current_setting('server_version'), clock_timestamp(), pg_database_size(current_database())"
        ).one()
        return ServerFacts("PostgreSQL", str(version).split()[0], now, int(size_bytes))


def sqlite_file(url: str) -> Path | None:
    """The file that an address of SQLite names; None for a server, and for what is no address."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return None
    return Path(parsed.database) if parsed.database and parsed.get_backend_name() == "sqlite" else None


def server_address(engine: sa.Engine) -> tuple[str, int] | None:
    """Host and port of a database server; None for SQLite, and where a socket file is named instead."""
    url = engine.url
    return None if engine.dialect.name == "sqlite" or not url.host else (url.host, url.port or 5432)


@contextmanager
def translated() -> Iterator[None]:
    """Turn any driver error inside the block into a `DatabaseError`."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        detail = getattr(error, "orig", None) or error
        raise DatabaseError(str(detail).strip().splitlines()[0]) from error


def create_tables(engine: sa.Engine, tables: Tables) -> None:
    """Create what is missing of `tables`, columns of older tables too; several processes may do so at once.

    Raises:
        DatabaseError: the database could not be reached or refused.
    """
    with translated(), engine.connect() as connection:
        if not _missing(connection, tables):
            return
        connection.rollback()
        connection.exec_driver_sql(_ONE_AT_A_TIME[connection.dialect.name])  # checking and creating are two steps
        tables.metadata.create_all(connection)
        for column in _missing(connection, tables):
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {_quoted(connection, column.table.name)} ADD COLUMN {definition}")
        connection.commit()


def _missing(connection: sa.Connection, tables: Tables) -> list[sa.Column[Any]]:
    """The columns that the database does not have, all of a table's where the table is not there."""
    wanted = tables.metadata.tables
    found = sa.inspect(connection).get_multi_columns(filter_names=list(wanted))
    held = {name: {column["name"] for column in columns} for (_, name), columns in found.items()}
    return [
        column for name, table in wanted.items() for column in table.columns if column.name not in held.get(name, ())
    ]


def _quoted(connection: sa.Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


_ONE_AT_A_TIME = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5329233)"}
"""Waits for the right to change tables, until the transaction ends; the number is ours alone."""


def insert_rows(
    connection: sa.Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]], *, ignore_duplicates: bool = False
) -> int:
    """Insert many rows (dictionaries by column key) and return how many were read.

    PostgreSQL takes them by COPY through a temporary table, SQLite by prepared statements.
    With `ignore_duplicates` a row whose key is there already is passed over.
    """
    source, total = iter(rows), 0
    while chunk := list(islice(source, CHUNK_ROWS)):
        if connection.dialect.name == "postgresql":
            _copy(connection, table, chunk, ignore_duplicates=ignore_duplicates)
        else:
            _insert(connection, table, chunk, ignore_duplicates=ignore_duplicates)
        total += len(chunk)
    return total


def _insert(
    connection: sa.Connection, table: sa.Table, rows: list[Mapping[str, Any]], *, ignore_duplicates: bool
) -> None:
    """Hand the rows to the driver as they are, many to a statement: half of the time was in between.

    A statement a row also lets go of the interpreter a row, and waits for it each time beside a busy thread.
    """
    columns = [column for column in table.columns if column.key in rows[0]]
    statement = sqlite.insert(table)  # not OR IGNORE: that would pass over a missing value, too
    wanted = statement.on_conflict_do_nothing() if ignore_duplicates else statement
    compiled = wanted.compile(dialect=connection.dialect, column_keys=[str(column.key) for column in columns])
    kinds = {str(column.key): column.type.dialect_impl(connection.dialect) for column in columns}
    processors = [(key, kinds[key].bind_processor(connection.dialect)) for key in compiled.positiontup or ()]

    def plain(some: list[Mapping[str, Any]]) -> Iterator[list[Any]]:
        for row in some:
            yield [row[key] if process is None else process(row[key]) for key, process in processors]

    one_row = str(compiled)
    head, places, tail = one_row.rpartition(f"({', '.join('?' * len(processors))})")
    at_once = min(SQLITE_ROWS, SQLITE_VARIABLES // len(processors))
    many_rows = head + ", ".join([places] * at_once) + tail
    whole = len(rows) - len(rows) % at_once
    try:
        for start in range(0, whole, at_once):
            connection.exec_driver_sql(many_rows, tuple(chain.from_iterable(plain(rows[start : start + at_once]))))
        if rest := [tuple(values) for values in plain(rows[whole:])]:  # no statement for each number: SQLite keeps them
            connection.exec_driver_sql(one_row, rest)
    except TypeError as error:  # a flag that is neither true nor false
        raise ValueError(str(error)) from error


def _copy(
    connection: sa.Connection, table: sa.Table, rows: list[Mapping[str, Any]], *, ignore_duplicates: bool
) -> None:
    columns = [column for column in table.columns if column.key in rows[0]]
    names = ", ".join(_quoted(connection, column.name) for column in columns)
    target = _quoted(connection, table.name)
    if ignore_duplicates:
        connection.exec_driver_sql(
            f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0"  # noqa: S608 (quoted)
        )
    driver: Any = connection.connection.driver_connection
    into = "incoming" if ignore_duplicates else target
    command = f"COPY {into} ({names}) FROM STDIN"
    failures: Any = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(command) as copy:
            for row in rows:
                copy.write_row([row[str(column.key)] for column in columns])
    except failures.Error as error:  # the driver's own: COPY does not go through SQLAlchemy, which would wrap it
        raise sa.exc.DBAPIError.instance(command, None, error, failures.Error, dialect=connection.dialect) from error
    if ignore_duplicates:
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming ON CONFLICT DO NOTHING"  # noqa: S608 (quoted)
        )
        connection.exec_driver_sql("DROP TABLE incoming")


def upsert_rows(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows (dictionaries by column key); where a key is there already, the new row takes its place."""
    if not rows:
        return
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
    keys = {column.key for column in table.primary_key}
    changed = {column.key: insert.excluded[column.key] for column in table.columns if column.key not in keys}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), rows)
