from __future__ import annotations

import multiprocessing
import socket
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import DatabaseError, create_tables, open_engine, translated
from leeway.store.predictions import PredictionLog, PredictionLogError
from leeway.store.tables import Tables, tables_for
from tests.leeway.store.records import IDS, a_record, stored_ids

PROCESSES = 4
SLOW_CREATE_S = 0.02
"""How long a table takes to be created. Without a lock, every process has seen by then that it is missing."""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:secret@h/d",
        "oracle+nope://h",
        "postgresql+nope://u:secret@h/d",
        "postgresql+psycopg://u:secret@h:port/d",
        "sqlite:////proc/nowhere/leeway.db",
    ],
)
def test_an_invalid_url_is_rejected_with_the_supported_ones(url: str) -> None:
    """The error names the variable and the supported URLs, and reveals no password."""
    with pytest.raises(DatabaseError, match=r"LEEWAY_DATABASE_URL.*; use sqlite:///FILE or postgresql") as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def test_a_closed_port_fails_within_seconds(tables: Tables) -> None:
    """A PostgreSQL that is not running is a DatabaseError in one line, without the password."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # reserved but not listening: nothing can answer there
        engine = open_engine(f"postgresql+psycopg://u:secret@127.0.0.1:{closed.getsockname()[1]}/d")
        started_s = time.monotonic()
        with pytest.raises(DatabaseError) as caught:
            create_tables(engine, tables)
    assert time.monotonic() - started_s < 5
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_server_times_out() -> None:
    """A host that accepts the connection and never responds is a DatabaseError within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_engine(f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/d")
        started_s = time.monotonic()
        with pytest.raises(DatabaseError), translated(), engine.connect():
            pass
    assert time.monotonic() - started_s < 10


def test_a_driver_error_is_raised_as_the_requested_class(unreachable: sa.Engine) -> None:
    """`into` sets the class; the cause is the driver's error, also for an error that was translated before."""
    with pytest.raises(PredictionLogError) as caught, translated(into=PredictionLogError), unreachable.connect():
        pass
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)
    with pytest.raises(PredictionLogError) as again, translated(into=PredictionLogError), translated():
        raise caught.value.__cause__
    assert (str(again.value), again.value.__cause__) == (str(caught.value), caught.value.__cause__)


def test_opening_does_not_connect(tmp_path: Path) -> None:
    """Creating the engine creates the folder, but no file yet."""
    open_engine(f"sqlite:///{tmp_path / 'new' / 'leeway.db'}")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_of_another_format_is_rejected(tmp_path: Path, tables: Tables) -> None:
    """A file that is not a database is a DatabaseError and remains unchanged."""
    (tmp_path / "x.db").write_text("dear diary" * 100)
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(DatabaseError, match="not a database"):
        create_tables(engine, tables)
    assert (tmp_path / "x.db").read_text() == "dear diary" * 100
    engine.dispose()


def test_sqlite_uses_a_write_ahead_log(engine: sa.Engine) -> None:
    """Readers and the writer do not wait for each other."""
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_existing_tables_remain_unchanged(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """Creating the tables a second time keeps their rows, and creates one that was dropped."""
    log.write_batch([a_record()])
    with engine.begin() as connection:
        tables.rejections.drop(connection)
    create_tables(engine, tables)
    assert stored_ids(engine) == IDS[:1]
    assert sa.inspect(engine).has_table("rejections")


def test_existing_tables_need_no_lock(engine: sa.Engine, tables: Tables) -> None:
    """A process starts while another one writes, if its tables exist."""
    with engine.connect() as writer:
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        started_s = time.monotonic()
        create_tables(engine, tables)
        assert time.monotonic() - started_s < 1


def create_slowly(url: str, barrier: Barrier) -> None:
    """Create the tables, slowly, at the same time as the other processes."""
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _slow_down(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE" in statement:
            time.sleep(SLOW_CREATE_S)

    barrier.wait(60)
    create_tables(engine, tables)


def test_several_processes_create_the_tables_at_once(tmp_path: Path, tables: Tables) -> None:
    """Each of four processes that start with an empty database succeeds."""
    url = f"sqlite:///{tmp_path / 'leeway.db'}"
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(PROCESSES)
    started = [spawn.Process(target=create_slowly, args=(url, barrier)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(90)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    engine = open_engine(url)
    assert set(sa.inspect(engine).get_table_names()) == set(tables.metadata.tables)
    engine.dispose()
