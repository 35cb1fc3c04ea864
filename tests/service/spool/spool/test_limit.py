from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.spool.appender import STATEMENT_ROWS
from service.spool.file import connect
from service.spool.spool import Spool, SpoolError
from tests.leeway.store.records import a_record, fill, open_spool, some_records
from tests.service.spool.spool.contents import taken

SMALL_LIMIT = 2**18


def append_much(spool: Spool) -> None:
    """Append 20,000 records, some ten megabytes."""
    for _ in range(100):
        spool.append(some_records(200))


def test_a_spool_at_its_limit_says_so(path: Path) -> None:
    """The append that finds no room raises, and the file stays within its limit."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        fill(spool)
        with pytest.raises(SpoolError, match="at its limit"):
            spool.append(some_records(50))
        assert SMALL_LIMIT * 0.9 < spool.size_bytes() <= SMALL_LIMIT


def test_a_call_that_finds_room_for_a_part_leaves_nothing(path: Path) -> None:
    """All or nothing holds for more records than one statement takes, too."""
    with open_spool(path, limit_bytes=4 * SMALL_LIMIT) as spool:
        with pytest.raises(SpoolError, match="at its limit"):
            spool.append(some_records(6 * STATEMENT_ROWS))
        assert spool.backlog() == 0
        spool.append(some_records(STATEMENT_ROWS))  # of which there is room for one, but not for six
        assert spool.backlog() == STATEMENT_ROWS


def test_an_emptied_spool_takes_as_much_again(path: Path) -> None:
    """The room of deleted rows is used again."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        first = fill(spool)
        spool.ack(taken(spool))
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
            spool.ack(batch)
            spool.checkpoint()
        assert fill(spool) > count / 2


def test_fsync_always_asks_for_full_synchronisation(path: Path) -> None:
    """`always` is SQLite's FULL (2), the default NORMAL (1), on the connection that appends."""
    modes = []
    for fsync_always in (False, True):
        with open_spool(path, fsync_always=fsync_always) as spool:
            modes += spool._appender._connection.execute("PRAGMA synchronous").fetchone()
    assert modes == [1, 2]
