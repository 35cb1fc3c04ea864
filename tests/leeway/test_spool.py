from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from leeway.record import PredictionRecord
from leeway.schema import CHURN_SCHEMA
from leeway.spool import Batch, Spool, SpoolError, UnknownSchema
from leeway.spool_file import connect
from tests.leeway.records import OTHER_SCHEMA, a_record, fill, open_spool, some_records, start_appending

SMALL_LIMIT = 2**18


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool goes: in a folder that is not there yet."""
    return tmp_path / "var" / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """An open spool."""
    with open_spool(path) as opened:
        yield opened


def waiting(spool: Spool, limit: int = 10_000) -> list[PredictionRecord]:
    """The records that a mover would take."""
    batch = spool.take(limit)
    return [record for _, record in batch.entries] if batch else []


def taken(spool: Spool, limit: int = 10_000) -> Batch:
    """A batch, where one must be."""
    batch = spool.take(limit)
    assert batch is not None
    return batch


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Ask the file itself."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def append_singly(spool: Spool, records: list[PredictionRecord]) -> None:
    """Append one at a time, as requests do."""
    for record in records:
        spool.append([record])


def append_much(spool: Spool) -> None:
    """Append 20,000 records, some ten megabytes."""
    for _ in range(100):
        spool.append(some_records(200))


# --- append, take, forget -----------------------------------------------------------------------------------------


def test_what_is_appended_is_taken_in_order(spool: Spool) -> None:
    """Records come out as they went in, the oldest first."""
    records = some_records(3)
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


def test_nothing_waits_in_a_new_spool(spool: Spool) -> None:
    """An empty spool gives no batch and counts nothing."""
    assert (spool.take(10), spool.backlog()) == (None, 0)


def test_records_outlive_a_restart(path: Path) -> None:
    """What was appended is there when the file is opened again."""
    with open_spool(path) as first:
        first.append(some_records(2))
    with open_spool(path) as second:
        assert waiting(second) == some_records(2)


def test_taking_leaves_records_where_they_are(spool: Spool) -> None:
    """Only forget deletes: a mover that dies in between has lost nothing."""
    spool.append(some_records(2))
    spool.take(10)
    assert spool.backlog() == 2


def test_forget_deletes_the_batch_and_nothing_else(spool: Spool) -> None:
    """Records that came after a batch stay."""
    spool.append(some_records(3))
    batch = taken(spool, limit=2)
    spool.append([a_record(3)])
    spool.forget(batch)
    assert waiting(spool) == some_records(2, start=2)


@pytest.mark.parametrize(("limit", "has_more"), [(2, True), (3, False), (4, False)])
def test_a_batch_says_whether_more_waits(spool: Spool, limit: int, *, has_more: bool) -> None:
    """The mover goes on at once only where something is left."""
    spool.append(some_records(3))
    assert taken(spool, limit).has_more is has_more


def test_an_append_is_all_or_nothing(spool: Spool) -> None:
    """One record that cannot be written takes the others of its call with it."""
    with pytest.raises(SpoolError, match="cannot be written"):
        spool.append([a_record(0), a_record(1, score=float("nan"))])
    assert spool.backlog() == 0


def test_text_that_is_no_text_is_refused_in_words(spool: Spool) -> None:
    """A lone surrogate cannot be stored as UTF-8; that is a SpoolError like any other."""
    with pytest.raises(SpoolError, match="cannot be written"):
        spool.append([a_record(user_id="\ud800")])


def test_after_a_refused_append_the_next_one_works(spool: Spool) -> None:
    """A failed transaction leaves none open behind it."""
    with pytest.raises(SpoolError):
        spool.append([a_record(0), a_record(1, user_id="\ud800")])
    spool.append([a_record(2)])
    assert waiting(spool) == [a_record(2)]


def test_a_closed_spool_says_so(path: Path) -> None:
    """An append after close is a SpoolError, not a driver's error."""
    spool = open_spool(path)
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append([a_record()])


# --- several threads and processes --------------------------------------------------------------------------------


def test_several_processes_append_at_once(path: Path) -> None:
    """Nothing is lost or doubled where three processes write at the same time."""
    children = [start_appending(path, first=first, count=200) for first in (0, 1_000, 2_000)]
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool)]
    assert sorted(ids) == sorted(itertools.chain(*printed))
    assert len(ids) == 600


def test_threads_share_the_appending_connection(spool: Spool) -> None:
    """The event loop and the pool's threads may append at the same time."""
    threads = [
        threading.Thread(target=append_singly, args=(spool, some_records(100, first))) for first in (0, 100, 200, 300)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.prediction_id for record in waiting(spool)} == {each.prediction_id for each in some_records(400)}


def test_an_acknowledged_record_survives_kill_9(path: Path) -> None:
    """Every id that a process printed before it was killed is in the spool, exactly once."""
    child = start_appending(path)
    assert child.stdout is not None
    printed = [child.stdout.readline().strip() for _ in range(300)]
    child.kill()
    printed += [line for line in child.communicate()[0].split("\n")[:-1] if line]
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool, limit=100_000)]
    assert set(printed) <= set(ids)
    assert len(ids) == len(set(ids))


def test_one_process_at_a_time_may_move(path: Path) -> None:
    """A second lease is not given while the first is held."""
    with open_spool(path) as one, open_spool(path) as other:
        held = one.lease()
        assert held is not None
        with held:
            assert other.lease() is None


def test_a_lease_let_go_is_given_to_the_next(path: Path) -> None:
    """Another process takes over."""
    with open_spool(path) as one, open_spool(path) as other:
        first = one.lease()
        assert first is not None
        first.release()
        second = other.lease()
        assert second is not None
        second.release()


# --- schemas, and rows that cannot be stored ----------------------------------------------------------------------


def test_records_of_an_older_bundle_come_with_their_schema(path: Path) -> None:
    """After a change of bundle, what the old one left is taken first, alone, and its schema is known."""
    old = a_record(0, features={"score": 1.5, "subject": "x", "rows": 2})
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([old])
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        batch = taken(spool)
        assert ([record for _, record in batch.entries], batch.has_more) == ([old], True)
        assert spool.schema(batch.fingerprint) == OTHER_SCHEMA


def test_an_unknown_schema_is_named(spool: Spool) -> None:
    """A fingerprint that was never opened with has an error of its own."""
    with pytest.raises(UnknownSchema, match="abc"):
        spool.schema("abc")


@pytest.mark.parametrize(
    "payload", ["no json", "[]", "17", '["id", 1e300]', '["id",1,"v",null,null,[],0,0,0,0,0,"",""]']
)
def test_a_row_that_holds_no_record_stands_apart(spool: Spool, path: Path, payload: str) -> None:
    """It is named as unreadable, and the records beside it are read."""
    spool.append([a_record(0)])
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES (?, ?)", (CHURN_SCHEMA.fingerprint, payload))
    spool.append([a_record(1)])
    batch = taken(spool)
    assert ([record for _, record in batch.entries], batch.unreadable) == ([a_record(0), a_record(1)], (2,))


def test_a_refused_row_is_kept_aside_with_the_reason(spool: Spool, path: Path) -> None:
    """It no longer waits, and a person can find it."""
    spool.append(some_records(2))
    spool.refuse([1], "too large")
    assert waiting(spool) == [a_record(1)]
    assert query(path, "SELECT reason, payload FROM refused") == [("too large", a_record(0).to_json())]


# --- the limit, the journal, the disk -----------------------------------------------------------------------------


def test_a_spool_at_its_limit_says_so(path: Path) -> None:
    """The append that finds no room raises, and the file stays within its limit."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        fill(spool)
        with pytest.raises(SpoolError, match="at its limit"):
            spool.append(some_records(50))
        assert SMALL_LIMIT * 0.9 < spool.size_bytes() <= SMALL_LIMIT


def test_an_emptied_spool_takes_as_much_again(path: Path) -> None:
    """The room of deleted rows is used again."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        first = fill(spool)
        spool.forget(taken(spool))
        assert fill(spool) >= first * 0.9


def test_a_full_spool_is_not_writable(path: Path) -> None:
    """Readiness sees what an append would see."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        spool.check_writable()
        fill(spool)
        with pytest.raises(SpoolError, match="at its limit"):
            spool.check_writable()


def test_a_full_spool_can_be_opened_again(path: Path) -> None:
    """A restart while the database is away must not fail for a full spool."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        count = fill(spool)
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        assert spool.backlog() == count


def test_checking_leaves_nothing_behind(spool: Spool) -> None:
    """However often readiness asks, the file does not grow and nothing waits."""
    spool.check_writable()
    before = spool.size_bytes()
    for _ in range(20):
        spool.check_writable()
    assert (spool.size_bytes(), spool.backlog()) == (before, 0)


def test_a_checkpoint_cuts_a_long_journal(spool: Spool, path: Path) -> None:
    """What the mover carries over need not be kept twice."""
    spool.append(some_records(8_000))
    spool.checkpoint()
    assert path.with_name("spool.db-wal").stat().st_size == 0


def test_a_request_pays_for_no_checkpoint(path: Path) -> None:
    """Appends go to the journal alone; carrying it over is the mover's work."""
    with open_spool(path, limit_bytes=2**30) as spool:
        before = path.stat().st_size
        for number in range(1_500):
            spool.append([a_record(number)])
        assert path.stat().st_size == before


def test_without_a_mover_the_appender_cuts_the_journal(path: Path) -> None:
    """A mover that hangs does not let the journal fill the disk."""
    with open_spool(path, limit_bytes=2**24) as spool:
        for number in range(1_200):
            spool.append([a_record(number)])
        assert path.with_name("spool.db-wal").stat().st_size < 2 * 2**20 + 256 * 3 * 4_120


def test_a_reader_that_holds_the_journal_cannot_fill_the_disk(path: Path) -> None:
    """Where the journal cannot be cut, appends stop at twice its limit, and go on when the reader has gone."""
    with open_spool(path, limit_bytes=2**24) as spool, closing(connect(path)) as reader:
        spool.append([a_record()])
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(SpoolError, match="a reader"):
            append_much(spool)
        reader.execute("ROLLBACK")
        spool.append([a_record()])
        assert spool.backlog() > 1_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_spool_can_be_emptied_on_it(small_disk: Path) -> None:
    """Deleting needs room in the journal; the reserve makes it, so a full disk is no dead end."""
    with open_spool(small_disk / "spool.db", limit_bytes=2**25) as spool:
        spool.checkpoint()
        count = fill(spool)
        with pytest.raises(SpoolError, match="disk is full"):
            spool.append(some_records(100))
        while batch := spool.take(500):
            spool.forget(batch)
            spool.checkpoint()
        assert fill(spool) > count / 2


def test_fsync_always_asks_for_full_synchronisation(path: Path) -> None:
    """`always` is SQLite's FULL (2), the default NORMAL (1), on the connection that appends."""
    modes = []
    for fsync_always in (False, True):
        with open_spool(path, fsync_always=fsync_always) as spool:
            modes += spool._appender._connection.execute("PRAGMA synchronous").fetchone()
    assert modes == [1, 2]


# --- a file that cannot be used -----------------------------------------------------------------------------------


def overwrite(path: Path, offset: int, count: int) -> None:
    """Put garbage into the file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * count)


def damage_header(path: Path) -> None:
    """What SQLite reads first is garbage."""
    overwrite(path, 0, 512)


def damage_middle(path: Path) -> None:
    """A page in the middle is garbage."""
    overwrite(path, path.stat().st_size // 2 // 4_096 * 4_096, 4_096)


def cut_off(path: Path) -> None:
    """The file ends in the middle of a page."""
    os.truncate(path, path.stat().st_size // 2 + 100)


@pytest.mark.parametrize("damage", [damage_header, damage_middle, cut_off])
def test_a_damaged_spool_is_set_aside(path: Path, damage: object) -> None:
    """A new spool is begun, and it is said where the damaged one is."""
    with open_spool(path) as spool:
        spool.append(some_records(200))
        assert spool.set_aside is None
    assert callable(damage)
    damage(path)
    damaged = path.read_bytes()
    with open_spool(path) as spool:
        assert spool.set_aside is not None
        assert spool.set_aside.name.startswith("spool.db.damaged-")
        assert spool.set_aside.read_bytes() == damaged
        spool.append([a_record()])
        assert waiting(spool) == [a_record()]


def test_a_table_of_another_shape_is_damage_too(path: Path) -> None:
    """A spool whose table lacks a column is set aside, not written to."""
    open_spool(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE records RENAME COLUMN payload TO cargo")
    with open_spool(path) as spool:
        assert spool.set_aside is not None


def test_a_damaged_spool_that_is_in_use_is_left_alone(path: Path) -> None:
    """Setting it aside would take along what the other process appends; the message says what to do."""
    with open_spool(path) as spool:
        spool.append(some_records(200))
        spool.checkpoint()
        damage_middle(path)
        with pytest.raises(SpoolError, match="stop all that use it"):
            open_spool(path)


def test_several_processes_that_start_on_a_damaged_spool_set_it_aside_once(path: Path) -> None:
    """They wait for the first one's repair, and each one's records are in the new file."""
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1_000)
    children = [start_appending(path, first=first, count=20) for first in (0, 100, 200)]
    assert [len(child.communicate(timeout=60)[0].split()) for child in children] == [20, 20, 20]
    with open_spool(path) as spool:
        assert spool.backlog() == 60
    assert len(list(path.parent.glob("spool.db.damaged-*Z"))) == 1


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    """A spool path that points at some other SQLite file is refused with what to do."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id TEXT)")
    with pytest.raises(SpoolError, match="a file of its own"):
        open_spool(path)
    assert query(path, "SELECT name FROM sqlite_master") == [("customers",)]


def test_a_folder_is_no_spool(tmp_path: Path) -> None:
    """The message names the setting."""
    with pytest.raises(SpoolError, match="LEEWAY_SPOOL"):
        open_spool(tmp_path)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """Lack of permission is a SpoolError with the path."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:  # who may do everything, so another user's rights are taken for the attempt
        os.seteuid(65_534)
    try:
        with pytest.raises(SpoolError, match="may not be written"):
            open_spool(closed / "spool.db")
    finally:
        if root:
            os.seteuid(0)


def test_a_check_keeps_its_mark(spool: Spool) -> None:
    """Alone or between others, it comes out as it went in."""
    records = [a_record(0, is_check=True), *some_records(2, start=1), a_record(3, is_check=True)]
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


def test_records_with_nothing_known_but_the_answer_pass(spool: Spool) -> None:
    """No customer, no month, no look-up, no trace: all of these may be missing."""
    bare = replace(a_record(), user_id=None, as_of=None, lookup_duration_s=None, trace_id=None, span_id=None)
    spool.append([bare])
    assert waiting(spool) == [bare]
