from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.spool.file import connect
from service.spool.spool import STATEMENT_ROWS, Spool, SpoolError
from tests.leeway.store.records import a_record, some_records
from tests.service.spool.spools import fill, open_spool, taken

SMALL_LIMIT = 2**18


def append_much(spool: Spool) -> None:
    """Append 20,000 records, about ten megabytes."""
    for _ in range(100):
        spool.append(some_records(200))


def test_a_full_spool_stays_within_its_limit(path: Path) -> None:
    """Appends and the readiness check raise, the file stays within its limit, and it can be opened again."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        spool.check_writable()
        count = fill(spool)
        with pytest.raises(SpoolError, match="at its limit"):
            spool.append(some_records(50))
        with pytest.raises(SpoolError, match="at its limit"):
            spool.check_writable()
        assert SMALL_LIMIT * 0.9 < spool.size_bytes() <= SMALL_LIMIT
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        assert spool.backlog() == count


def test_a_call_with_space_for_only_a_part_appends_nothing(path: Path) -> None:
    """All or nothing also holds for more records than one statement takes."""
    with open_spool(path, limit_bytes=4 * SMALL_LIMIT) as spool:
        with pytest.raises(SpoolError, match="at its limit"):
            spool.append(some_records(6 * STATEMENT_ROWS))
        assert spool.backlog() == 0
        spool.append(some_records(STATEMENT_ROWS))  # there is space for one statement, but not for six
        assert spool.backlog() == STATEMENT_ROWS


def test_an_emptied_spool_takes_as_much_again(path: Path) -> None:
    """The space of deleted rows is reused."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        first = fill(spool)
        spool.ack(taken(spool))
        assert fill(spool) >= first * 0.9


def test_the_readiness_check_leaves_nothing_behind(spool: Spool) -> None:
    """However often it runs, the file does not grow and nothing waits."""
    spool.check_writable()
    before = spool.size_bytes()
    for _ in range(20):
        spool.check_writable()
    assert (spool.size_bytes(), spool.backlog()) == (before, 0)


def test_a_checkpoint_truncates_a_long_journal(spool: Spool, path: Path) -> None:
    """Records that were copied to the file do not take space twice."""
    spool.append(some_records(8_000))
    spool.checkpoint()
    assert path.with_name("spool.db-wal").stat().st_size == 0


def test_a_request_never_pays_for_a_checkpoint(path: Path) -> None:
    """Appends go to the journal only; the drainer copies it to the file."""
    with open_spool(path, limit_bytes=2**30) as spool:
        before = path.stat().st_size
        for number in range(1_500):
            spool.append([a_record(number)])
        assert path.stat().st_size == before


def test_without_a_drainer_appends_truncate_the_journal(path: Path) -> None:
    """A drainer that hangs does not let the journal fill the disk."""
    with open_spool(path, limit_bytes=2**24) as spool:
        for number in range(1_200):
            spool.append([a_record(number)])
        assert path.with_name("spool.db-wal").stat().st_size < 2 * 2**20 + 256 * 3 * 4_120


def test_a_reader_that_holds_the_journal_cannot_fill_the_disk(path: Path) -> None:
    """If the journal cannot be truncated, appends stop at twice its limit, and continue once the reader is gone."""
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
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_spool_on_a_full_disk_can_be_drained(small_disk: Path) -> None:
    """The error names the full disk. Deleting needs space in the journal, which the reserve provides."""
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
            modes += spool._appending.execute("PRAGMA synchronous").fetchone()
    assert modes == [1, 2]
