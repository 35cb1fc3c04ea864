from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from leeway.store.bulk_insert import insert_rows
from leeway.store.engine import DatabaseError, create_tables, open_engine, translated
from leeway.store.predictions import PredictionLog
from tests.leeway.store.engine.labels import KEYS, LABELS, TABLES, held, rows
from tests.leeway.store.records import a_record


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:hush@h/d",
        "oracle+nope://h",
        "postgresql+nope://u:hush@h/d",
        "postgresql+psycopg://u:hush@h:port/d",
        "sqlite:////proc/nowhere/leeway.db",
    ],
)
def test_bad_address_says_what_would_do(url: str) -> None:
    """An address that cannot be used names the variable and what would do, and gives no password away."""
    with pytest.raises(DatabaseError, match=r"LEEWAY_DATABASE_URL .*; give sqlite:///FILE or postgresql") as caught:
        open_engine(url)
    assert "hush" not in str(caught.value)


def test_absent_postgresql_is_said_soon() -> None:
    """A PostgreSQL that nobody runs is a DatabaseError within seconds, in one line, without the password."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and not listened on: nothing can answer there
        engine = open_engine(f"postgresql+psycopg://u:hush@127.0.0.1:{closed.getsockname()[1]}/d")
        began_s = time.monotonic()
        with pytest.raises(DatabaseError) as caught:
            create_tables(engine, TABLES)
    assert time.monotonic() - began_s < 5
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_silent_postgresql_is_given_up() -> None:
    """A host that takes the connection and never answers is given up after a few seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_engine(f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/d")
        began_s = time.monotonic()
        with pytest.raises(DatabaseError), translated(), engine.connect():
            pass
    assert time.monotonic() - began_s < 10


def test_opening_connects_to_nothing(tmp_path: Path) -> None:
    """Making the engine makes the folder, and no file yet."""
    open_engine(f"sqlite:///{tmp_path / 'new' / 'leeway.db'}")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """A file of something else is a DatabaseError, and stays as it is."""
    (tmp_path / "x.db").write_text("dear diary" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        create_tables(open_engine(f"sqlite:///{tmp_path / 'x.db'}"), TABLES)
    assert (tmp_path / "x.db").read_text() == "dear diary" * 100


def test_sqlite_runs_in_wal(engine: sa.Engine) -> None:
    """SQLite keeps a write-ahead log, so that readers and the writer do not wait for each other."""
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_tables_can_be_made_again(engine: sa.Engine) -> None:
    """Making the tables a second time changes nothing."""
    with engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, rows(1))
    create_tables(engine, TABLES)
    assert held(engine) == [("u0", 0)]


def test_an_older_table_gains_what_it_lacks(engine: sa.Engine) -> None:
    """A database of before there were checks gets the column, and keeps its rows: they were wanted."""
    log = PredictionLog(engine, TABLES)
    log.write_batch([a_record()])
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_synthetic")
    create_tables(engine, TABLES)
    assert log.mark(a_record().prediction_id) is False


def test_what_is_added_can_be_added_to_rows_that_are_there() -> None:
    """PostgreSQL too takes the column without touching a row: it has a default."""
    dialect: Any = sa.make_url("postgresql+psycopg://").get_dialect()()
    definition = CreateColumn(TABLES.predictions.c.is_synthetic).compile(dialect=dialect)
    assert str(definition) == "is_synthetic BOOLEAN DEFAULT false NOT NULL"
