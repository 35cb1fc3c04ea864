"""The engine and its tables. SQLite in a file is the embedded default, PostgreSQL the stack's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from leeway.store.tables import Tables

Engine: TypeAlias = sa.Engine
"""An opened database, for those who hand it on and speak no SQL."""

CONNECT_TIMEOUT_S = 2
BUSY_TIMEOUT_S = 5


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
            connection.exec_driver_sql(f"ALTER TABLE {quoted(connection, column.table.name)} ADD COLUMN {definition}")
        connection.commit()


def _missing(connection: sa.Connection, tables: Tables) -> list[sa.Column[Any]]:
    """The columns that the database does not have, all of a table's where the table is not there."""
    wanted = tables.metadata.tables
    found = sa.inspect(connection).get_multi_columns(filter_names=list(wanted))
    held = {name: {column["name"] for column in columns} for (_, name), columns in found.items()}
    return [
        column for name, table in wanted.items() for column in table.columns if column.name not in held.get(name, ())
    ]


def quoted(connection: sa.Connection, name: str) -> str:
    """A table's or column's name as SQL takes it."""
    return connection.dialect.identifier_preparer.quote(name)


_ONE_AT_A_TIME = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5329233)"}
"""Waits for the right to change tables, until the transaction ends; the number is ours alone."""
