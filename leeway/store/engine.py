"""Opens the database and creates its tables. SQLite in a file is the default, PostgreSQL the stack's.

Errors:
    DatabaseError                   the database is unreachable or rejected a statement
    ├── SnapshotsUnavailable        leeway.store.snapshots
    ├── DriftLogError               leeway.store.drift_runs
    └── PredictionLogError          leeway.store.predictions
        └── RecordRejected          a record that can never be stored
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from leeway.store.tables import Tables

Engine: TypeAlias = sa.Engine
"""An opened database, for code that passes it on and uses no SQL."""

Rows: TypeAlias = sa.Select[Any]
"""A statement that selects rows, for the same kind of code."""

CONNECT_TIMEOUT_S = 2
BUSY_TIMEOUT_S = 5


class DatabaseError(Exception):
    """The database is unreachable or rejected a statement; `__cause__` is the driver's error."""


def open_engine(url: str, *, fsync_always: bool = False) -> sa.Engine:
    """Create the engine without connecting. Creates the folder of a SQLite file if it is missing.

    With `fsync_always` SQLite waits for the disk at each commit, as PostgreSQL does anyway.

    Raises:
        DatabaseError: the URL is invalid, its database is not supported, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        engine = _ENGINES[parsed.get_backend_name()](parsed)
    except KeyError as error:
        raise DatabaseError(f"LEEWAY_DATABASE_URL: unsupported database {error}; {_SUPPORTED_URLS}") from None
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError, OSError) as error:
        raise DatabaseError(f"LEEWAY_DATABASE_URL: {error}; {_SUPPORTED_URLS}") from error
    if fsync_always and engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=FULL"))
    return engine


@contextmanager
def opened_engine(url: str) -> Iterator[sa.Engine]:
    """Open an engine for the length of a block, and close its connections at the end; raises as `open_engine`."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


_SUPPORTED_URLS = "use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        hide_parameters=True,  # keeps customer data out of tracebacks
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
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # overwrites what is deleted; only some builds of SQLite do so

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait for other processes that switch a new file: this does."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


_ENGINES = {"sqlite": _sqlite_engine, "postgresql": _postgresql_engine}


@dataclass(frozen=True)
class ServerFacts:
    """A database's version, clock and size. `now` is None for SQLite, which has no clock of its own."""

    product: str
    version: str
    now: datetime | None
    size_bytes: int


def server_facts(engine: sa.Engine) -> ServerFacts:
    """Read the database's version, clock and size.

    Raises:
        DatabaseError: the database is unreachable.
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
    """The file of a SQLite URL; None for a server or an invalid URL."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return None
    return Path(parsed.database) if parsed.database and parsed.get_backend_name() == "sqlite" else None


def server_address(engine: sa.Engine) -> tuple[str, int] | None:
    """Host and port of a database server; None for SQLite and for a Unix socket."""
    url = engine.url
    return None if engine.dialect.name == "sqlite" or not url.host else (url.host, url.port or 5432)


@contextmanager
def translated(into: type[DatabaseError] = DatabaseError) -> Iterator[None]:
    """Raise any driver error or `DatabaseError` inside the block as `into`, with the driver's error as its cause."""
    try:
        yield
    except into:
        raise
    except DatabaseError as error:
        raise into(str(error)) from error.__cause__
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise into(first_line(error)) from error


def first_line(error: Exception) -> str:
    """The first line of a driver's message, without the SQL that SQLAlchemy appends."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def create_tables(engine: sa.Engine, tables: Tables, *, only: Sequence[sa.Table] = ()) -> None:
    """Create the tables that are missing, or of those the ones named; several processes may do so at once.

    Raises:
        DatabaseError: the database is unreachable or rejected a statement.
    """
    wanted = only or tables.metadata.sorted_tables
    with translated(), engine.connect() as connection:
        if {table.name for table in wanted} <= set(sa.inspect(connection).get_table_names()):
            return  # without the lock below, which waits for a running ingest
        connection.rollback()
        connection.exec_driver_sql(_LOCK_SCHEMA[connection.dialect.name])  # checking and creating are two steps
        tables.metadata.create_all(connection, tables=wanted)
        connection.commit()


_LOCK_SCHEMA = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5329233)"}
"""Waits for the exclusive right to create tables, until the transaction ends; the number is ours alone."""


def quoted(connection: sa.Connection, name: str) -> str:
    """A table or column name, quoted for SQL if necessary."""
    return connection.dialect.identifier_preparer.quote(name)
