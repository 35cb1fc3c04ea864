from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service.spool.spool import SpoolError
from tests.leeway.store.records import a_record, some_records
from tests.service.spool.spools import execute, open_spool, start_appending, waiting


def overwrite(path: Path, offset: int, count: int) -> None:
    """Write garbage into the file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * count)


def damage_header(path: Path) -> None:
    """SQLite's header is garbage."""
    overwrite(path, 0, 512)


def damage_middle(path: Path) -> None:
    """A page in the middle is garbage."""
    overwrite(path, path.stat().st_size // 2 // 4_096 * 4_096, 4_096)


def truncate(path: Path) -> None:
    """The file ends in the middle of a page."""
    os.truncate(path, path.stat().st_size // 2 + 100)


def damaged_files(path: Path) -> list[Path]:
    """The spools that were set aside."""
    return list(path.parent.glob(f"{path.name}.damaged-*Z"))


@pytest.mark.parametrize("damage", [damage_header, damage_middle, truncate])
def test_a_damaged_spool_is_set_aside(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A new spool is created, and the log says where the damaged one is."""
    with open_spool(path) as spool:
        spool.append(some_records(200))
        assert not damaged_files(path)
    damage(path)
    damaged = path.read_bytes()
    with open_spool(path) as spool:
        (aside,) = damaged_files(path)
        assert aside.read_bytes() == damaged
        assert str(aside) in caplog.text
        spool.append([a_record()])
        assert waiting(spool) == [a_record()]


def test_a_table_with_other_columns_is_damage_too(path: Path) -> None:
    """A spool whose table lacks a column is set aside, not written to."""
    open_spool(path).close()
    execute(path, "ALTER TABLE records RENAME COLUMN payload TO cargo")
    open_spool(path).close()
    assert damaged_files(path)


def test_foreign_tables_are_not_damage(path: Path) -> None:
    """An operator's ANALYZE adds a table of its own; the records still wait in the spool."""
    with open_spool(path) as spool:
        spool.append([a_record()])
    execute(path, "ANALYZE")
    with open_spool(path) as spool:
        assert waiting(spool) == [a_record()]
    assert not damaged_files(path)


def test_a_damaged_spool_that_is_in_use_is_left_alone(path: Path) -> None:
    """Setting it aside would lose what the other process appends; the message says what to do."""
    with open_spool(path) as spool:
        spool.append(some_records(200))
        spool.checkpoint()
        damage_middle(path)
        with pytest.raises(SpoolError, match="stop every process that uses it"):
            open_spool(path)


def test_processes_that_start_on_a_damaged_spool_set_it_aside_once(path: Path) -> None:
    """They wait for the first one's repair, and the new file holds the records of all of them."""
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1_000)
    children = [start_appending(path, first=first, count=20) for first in (0, 100, 200)]
    assert [len(child.communicate(timeout=60)[0].split()) for child in children] == [20, 20, 20]
    with open_spool(path) as spool:
        assert spool.backlog() == 60
    assert len(damaged_files(path)) == 1


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    """A spool path that points to some other SQLite file is rejected with what to do."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id TEXT)")
    with pytest.raises(SpoolError, match="not a spool of this version"):
        open_spool(path)
    assert execute(path, "SELECT name FROM sqlite_master") == [("customers",)]


def test_a_folder_is_no_spool(tmp_path: Path) -> None:
    """The message names the setting."""
    with pytest.raises(SpoolError, match="LEEWAY_SPOOL"):
        open_spool(tmp_path)


def test_a_read_only_folder_is_a_spool_error(tmp_path: Path) -> None:
    """The message names the path and the missing permission."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:  # root may write everywhere, so try it as another user
        os.seteuid(65_534)
    try:
        with pytest.raises(SpoolError, match=r"spool\.db: .*not writable"):
            open_spool(closed / "spool.db")
    finally:
        if root:
            os.seteuid(0)
