"""Inserts many rows by the fastest way of each database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from leeway.store.engine import quoted

CHUNK_ROWS = 5_000
SQLITE_ROWS = 200
UNIQUE_VIOLATION = "23505"
"""The SQLSTATE of a duplicate key, https://www.postgresql.org/docs/current/errcodes-appendix.html"""
SQLITE_VARIABLES = 32_766
"""SQLite's default limit for one statement, https://sqlite.org/limits.html"""


def insert_rows(
    connection: sa.Connection,
    table: sa.Table,
    keys: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    ignore_duplicates: bool = False,
) -> int:
    """Insert rows whose values are in the order of `keys`, the keys of columns; return the number of rows read.

    PostgreSQL uses COPY, SQLite uses statements of many rows. `ignore_duplicates` skips a row whose primary key exists.

    Raises:
        ValueError: a row has the wrong number of values, a naive time or an invalid flag.
        KeyError: the table has no such column.
    """
    into = _Into(connection, table, [table.columns[key] for key in keys], ignore_duplicates)
    source, total = iter(rows), 0
    while chunk := list(islice(source, CHUNK_ROWS)):
        if any(len(row) != len(keys) for row in chunk):
            raise ValueError(f"a row for {table.name} must hold {len(keys)} values")
        if connection.dialect.name == "postgresql":
            _copy(into, chunk)
        else:
            _insert(into, chunk)
        total += len(chunk)
    return total


class _Into(NamedTuple):
    """The target of an insert."""

    connection: sa.Connection
    table: sa.Table
    columns: list[sa.Column[Any]]
    ignore_duplicates: bool


def _insert(into: _Into, rows: list[Sequence[Any]]) -> None:
    """Pass the rows straight to the driver, many per statement, which halves the time.

    One statement per row would also release the interpreter for each row, and wait for it whenever a thread is busy.
    """
    connection, table, columns, ignore_duplicates = into
    statement = sqlite.insert(table)  # not OR IGNORE, which would skip a row with a missing value too
    wanted = statement.on_conflict_do_nothing() if ignore_duplicates else statement
    keys = [str(column.key) for column in columns]
    compiled = wanted.compile(dialect=connection.dialect, column_keys=keys)
    order = [keys.index(key) for key in compiled.positiontup or ()]
    one_row = str(compiled)
    head, places, tail = one_row.rpartition(f"({', '.join('?' * len(order))})")
    at_once = min(SQLITE_ROWS, SQLITE_VARIABLES // len(order))
    many_rows = head + ", ".join([places] * at_once) + tail
    whole = len(rows) - len(rows) % at_once
    try:
        values = list(zip(*_converted(into, rows, order), strict=True))
        for start in range(0, whole, at_once):
            connection.exec_driver_sql(many_rows, tuple(chain.from_iterable(values[start : start + at_once])))
        if rest := values[whole:]:  # not a longer statement: each would be cached
            connection.exec_driver_sql(one_row, rest)
    except TypeError as error:  # a flag that is neither true nor false
        raise ValueError(str(error)) from error


def _converted(into: _Into, rows: list[Sequence[Any]], order: list[int]) -> Iterator[Sequence[Any]]:
    """The columns in this order, as the driver takes their values.

    Only flags, days and times are converted. Many rows share theirs, so each value is converted once.
    """
    dialect, given = into.connection.dialect, list(zip(*rows, strict=True))
    for place in order:
        column = given[place]
        convert = into.columns[place].type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            by_value = {value: convert(value) for value in set(column)}
            column = tuple([by_value[value] for value in column])
        yield column


def _copy(into: _Into, rows: list[Sequence[Any]]) -> None:
    """Copy the rows into the table; only if a key exists already, through a table of their own, which skips duplicates.

    Duplicates are rare, since they follow a crash only, and the second table takes as long as the first.
    """
    connection, table, columns, ignore_duplicates = into
    names = ", ".join(quoted(connection, column.name) for column in columns)
    target = quoted(connection, table.name)
    if not ignore_duplicates:
        _copy_into(connection, target, names, rows)
        return
    try:
        with connection.begin_nested():
            _copy_into(connection, target, names, rows)
    except sa.exc.IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
            raise
        connection.exec_driver_sql(
            f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0"  # noqa: S608 (quoted)
        )
        _copy_into(connection, "incoming", names, rows)
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming ON CONFLICT DO NOTHING"  # noqa: S608 (quoted)
        )
        connection.exec_driver_sql("DROP TABLE incoming")


def _copy_into(connection: sa.Connection, target: str, names: str, rows: list[Sequence[Any]]) -> None:
    driver: Any = connection.connection.driver_connection
    command = f"COPY {target} ({names}) FROM STDIN"
    failures: Any = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(command) as copy:
            for row in rows:
                copy.write_row(row)
    except failures.Error as error:  # COPY bypasses SQLAlchemy, which would wrap the driver's error
        raise sa.exc.DBAPIError.instance(command, None, error, failures.Error, dialect=connection.dialect) from error


def upsert_rows(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows (dictionaries by column key), replacing those with the same primary key."""
    if not rows:
        return
    insert: Any = sqlite.insert(table)
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 (2 MiB and a tenth of a second, only if needed)

        insert = postgresql.insert(table)
    keys = {column.key for column in table.primary_key}
    changed = {column.key: insert.excluded[column.key] for column in table.columns if column.key not in keys}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), rows)
