from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.tables import tables_for

PROCESSES = 4
CHANGE_S = 0.1
"""How long a column takes to be added: without a lock, all have seen by then that it is missing."""


def add_what_is_missing(url: str, barrier: Barrier) -> None:
    """Add the columns that are missing, slowly, when all others are about to."""
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _slowly(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("ALTER TABLE"):
            time.sleep(CHANGE_S)

    barrier.wait(60)
    create_tables(engine, tables)


def test_several_processes_add_a_column_at_once(tmp_path: Path) -> None:
    """Each of four that begin with an older table ends well, and the column is there once."""
    url = f"sqlite:///{tmp_path / 'leeway.db'}"
    engine = open_engine(url)
    create_tables(engine, tables_for(CHURN_SCHEMA))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_synthetic")
    engine.dispose()
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(PROCESSES)
    started = [spawn.Process(target=add_what_is_missing, args=(url, barrier)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(90)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    columns = [column["name"] for column in sa.inspect(engine).get_columns("predictions")]
    assert columns.count("is_synthetic") == 1
