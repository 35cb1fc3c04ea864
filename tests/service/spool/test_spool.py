from __future__ import annotations

import itertools
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from leeway.store.record import PredictionRecord
from service.spool import spool as spool_module
from service.spool.reader import SpoolReader
from service.spool.segments import segments_in, to_lines
from service.spool.spool import MIN_SEGMENT_BYTES, Spool, SpoolError, SpoolFull
from tests.leeway.store.records import NOON, OTHER_SCHEMA, a_record, some_records
from tests.service.spool.spools import (
    drain_all,
    fill,
    killed_while_appending,
    open_spool,
    start_appending,
    taken,
    waiting,
)

SMALL_LIMIT = 2**18


# --- appending ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 32, 1_000])
def test_records_wait_in_order(spool: Spool, path: Path, count: int) -> None:
    """However many one call appends, they come out as they went in."""
    spool.append(some_records(count))
    spool.append([a_record(count)])
    assert waiting(path) == some_records(count + 1)


def test_a_batch_takes_one_write(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appending 32 records is one system call."""
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(write(descriptor, data))
        return writes[-1]

    monkeypatch.setattr(os, "write", counted)
    spool.append(some_records(32))
    monkeypatch.undo()
    assert writes == [spool.size_bytes()]


def test_records_survive_a_restart(path: Path) -> None:
    """Appended records are still there when the spool is opened again."""
    with open_spool(path) as first:
        first.append(some_records(2))
    with open_spool(path) as second:
        second.append([a_record(2)])
    assert waiting(path) == some_records(3)


@pytest.mark.parametrize("changes", [{"score": float("nan")}, {"user_id": "\ud800"}], ids=["no number", "no text"])
def test_an_append_is_all_or_nothing(spool: Spool, path: Path, changes: dict[str, object]) -> None:
    """One record without a JSON form rejects its whole call with a SpoolError; the next call works."""
    with pytest.raises(SpoolError, match="cannot be written"):
        spool.append([a_record(0), a_record(1, **changes)])
    spool.append([a_record(2)])
    assert waiting(path) == [a_record(2)]


def test_encoded_records_are_appended_as_they_are(spool: Spool, path: Path) -> None:
    """A caller that has the JSON appends it without encoding it again."""
    spool.append_encoded([record.to_json() for record in some_records(3)])
    assert waiting(path) == some_records(3)


@pytest.mark.parametrize(
    "record",
    [
        a_record(is_synthetic=True),
        a_record(features=("two\nlines", "ünïcödé 🎬")),
        replace(a_record(), user_id=None, as_of=None, lookup_duration_s=None, trace_id=None, span_id=None),
    ],
    ids=["synthetic", "line ends", "bare"],
)
def test_a_record_comes_out_as_it_went_in(spool: Spool, path: Path, record: PredictionRecord) -> None:
    """With its mark, its line ends, and without its optional fields."""
    spool.append([record, a_record(1)])
    assert waiting(path) == [record, a_record(1)]


def test_an_append_to_a_closed_spool_is_a_spool_error(path: Path) -> None:
    """It says so."""
    spool = open_spool(path)
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append([a_record()])


def test_fsync_always_flushes_each_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`always` waits for the disk once a call, the default never."""
    flushes: list[int] = []
    monkeypatch.setattr(spool_module, "flush", flushes.append)
    counts = []
    for fsync_always in (False, True):
        with open_spool(path, fsync_always=fsync_always) as spool:
            spool.append(some_records(3))
        counts.append(len(flushes))
    assert counts == [0, 1]


# --- several threads and processes --------------------------------------------------------------------------------


def test_several_processes_append_at_once(path: Path) -> None:
    """Three processes that write at the same time lose and duplicate nothing."""
    children = [start_appending(path, first=first, count=200) for first in (0, 1_000, 2_000)]
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    ids = [record.prediction_id for record in waiting(path)]
    assert sorted(ids) == sorted(itertools.chain(*printed))
    assert len(ids) == 600


def test_threads_share_a_spool(spool: Spool, path: Path) -> None:
    """The event loop and the pool's threads may append at the same time."""

    def append_singly(records: list[PredictionRecord]) -> None:
        for record in records:
            spool.append([record])

    threads = [threading.Thread(target=append_singly, args=(some_records(100, start),)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.prediction_id for record in waiting(path)} == {each.prediction_id for each in some_records(400)}


def test_an_appended_record_survives_kill_9(path: Path) -> None:
    """Every id that a process printed before it was killed is in the spool, exactly once."""
    printed = killed_while_appending(path)
    ids = [record.prediction_id for record in waiting(path)]
    assert set(printed) <= set(ids)
    assert len(ids) == len(set(ids))


# --- limits ---------------------------------------------------------------------------------------------------------


def test_a_full_spool_stays_within_its_limit(path: Path) -> None:
    """Appends and the readiness check raise, the files stay within the limit, and it can be opened again."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        spool.check_writable()
        count = fill(spool)
        with pytest.raises(SpoolFull, match="at its limit of 262,144 bytes"):
            spool.append(some_records(50))
        with pytest.raises(SpoolFull, match="at its limit"):
            spool.check_writable()
        assert SMALL_LIMIT * 0.9 < spool.size_bytes() <= SMALL_LIMIT
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        assert spool.backlog() == count


def test_several_processes_stay_within_one_limit(path: Path) -> None:
    """Each reserves a segment before it fills it."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as one, open_spool(path, limit_bytes=SMALL_LIMIT) as other:
        full: set[Spool] = set()
        for number in itertools.count():
            for spool in {one, other} - full:
                try:
                    spool.append([a_record(number)])
                except SpoolFull:
                    full.add(spool)
            if len(full) == 2:
                break
        assert SMALL_LIMIT * 0.9 < one.size_bytes() <= SMALL_LIMIT


def test_a_process_that_was_killed_reserves_nothing(path: Path) -> None:
    """Many restarts during an outage do not use up the limit with segments that are nearly empty."""
    for _ in range(2 * SMALL_LIMIT // MIN_SEGMENT_BYTES):
        with open_spool(path, limit_bytes=SMALL_LIMIT) as killed:
            killed.append([a_record()])
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        spool.append([a_record()])
        assert spool.size_bytes() < SMALL_LIMIT / 2


def test_a_call_with_space_for_only_a_part_appends_nothing(path: Path) -> None:
    """Fewer records still fit."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        with pytest.raises(SpoolFull):
            spool.append(some_records(2_000))
        assert spool.backlog() == 0
        spool.append(some_records(500))  # much more than a usual segment holds
        assert spool.backlog() == 500


def test_an_emptied_spool_takes_as_much_again(path: Path) -> None:
    """The drainer deletes what is stored."""
    with open_spool(path, limit_bytes=SMALL_LIMIT) as spool:
        first = fill(spool)
        assert len(drain_all(path)) == first
        assert fill(spool) >= first * 0.9


def test_the_readiness_check_leaves_nothing_behind(spool: Spool, path: Path) -> None:
    """However often it runs, nothing grows and nothing waits."""
    for _ in range(20):
        spool.check_writable()
    assert (spool.size_bytes(), spool.backlog(), len(segments_in(path)), list(path.glob("check-*"))) == (0, 0, 1, [])


def test_a_deleted_segment_is_noticed(spool: Spool, path: Path) -> None:
    """After the next readiness check records go to a file that exists again."""
    (segment,) = segments_in(path)
    segment.path.unlink()
    spool.check_writable()
    spool.append([a_record()])
    assert waiting(path) == [a_record()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_spool_on_a_full_disk_can_be_drained(small_disk: Path) -> None:
    """The error names the full disk; nothing of what was appended is lost, and there is room afterwards."""
    with open_spool(small_disk / "spool", limit_bytes=2**25) as spool:
        count = fill(spool)
        with pytest.raises(SpoolFull, match="disk is full"):
            spool.append(some_records(100))
        with pytest.raises(SpoolFull, match="disk is full"):
            spool.check_writable()
        stored = {record.prediction_id for record in drain_all(spool.path)}
        assert stored >= {record.prediction_id for record in some_records(count)}
        assert fill(spool) > count / 2


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_write_that_the_disk_cuts_off_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """It says how many records are kept. Nothing follows the torn one: the next append goes to another segment."""
    with open_spool(path) as spool:
        spool.append([a_record(0)])
        write, full = os.write, OSError(28, "No space left on device")

        def cut_off(descriptor: int, data: bytes) -> int:
            if len(data) < 100:
                raise full
            return write(descriptor, data[:-50])

        monkeypatch.setattr(os, "write", cut_off)
        with pytest.raises(SpoolFull, match="disk is full") as caught:
            spool.append([*some_records(kept), a_record(99)])
        monkeypatch.undo()
        spool.append([a_record(2)])
    assert caught.value.kept == kept
    assert len(segments_in(path)) == 2
    assert drain_all(path) == [a_record(0), *some_records(kept), a_record(2)]


# --- a folder that cannot be a spool ------------------------------------------------------------------------------


def test_a_file_is_no_spool(tmp_path: Path) -> None:
    """The message names the setting."""
    (tmp_path / "spool.db").touch()
    with pytest.raises(SpoolError, match="LEEWAY_SPOOL"):
        open_spool(tmp_path / "spool.db")


def test_a_read_only_folder_is_a_spool_error(tmp_path: Path) -> None:
    """The message names the path and the missing permission."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:  # root may write everywhere, so try it as another user
        os.seteuid(65_534)
    try:
        with pytest.raises(SpoolError, match=r"spool: .*not writable"):
            open_spool(closed / "spool")
    finally:
        if root:
            os.seteuid(0)


def test_a_new_schema_is_kept_beside_the_old_one(path: Path) -> None:
    """After a change of bundle the old records still have their schema."""
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([a_record(0, features=(1.5, "x", 2))])
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        reader = SpoolReader(path)
        batch = taken(reader)
        assert (batch.records, batch.has_more) == ([a_record(0, features=(1.5, "x", 2))], True)
        assert reader.schema(batch.segment.fingerprint) == OTHER_SCHEMA


def test_a_damaged_schema_is_written_again(path: Path) -> None:
    """The next start of the service repairs it, because its bundle has the schema."""
    open_spool(path).close()
    (kept,) = (path / "schemas").iterdir()
    before = kept.read_bytes()
    kept.write_bytes(before[:-10])
    open_spool(path).close()
    assert kept.read_bytes() == before


# --- observing ------------------------------------------------------------------------------------------------------


def test_a_new_spool_is_empty(spool: Spool) -> None:
    """It has no backlog, no age and no size."""
    assert (spool.backlog(), spool.backlog_age_s(), spool.size_bytes()) == (0, 0, 0)


def test_the_backlog_counts_what_waits(spool: Spool, reader: SpoolReader) -> None:
    """Records that are stored do not wait, whether their segment still exists or not."""
    spool.append(some_records(5))
    counts = [spool.backlog()]
    reader.ack(taken(reader, limit=2))
    counts.append(spool.backlog())
    spool.append(some_records(3))
    counts.append(spool.backlog())
    reader.ack(taken(reader))
    counts.append(spool.backlog())
    assert counts == [5, 3, 6, 0]


def test_the_age_is_that_of_the_oldest_waiting_record(spool: Spool, reader: SpoolReader) -> None:
    """It is measured from the time of the prediction."""
    spool.append(some_records(3))
    ages = [spool.backlog_age_s(NOON + timedelta(seconds=60))]
    reader.ack(taken(reader, limit=1))
    ages.append(spool.backlog_age_s(NOON + timedelta(seconds=60)))
    reader.ack(taken(reader))
    ages.append(spool.backlog_age_s(NOON + timedelta(seconds=60)))
    assert ages == [60, 59, 0]


def test_the_age_ignores_damage(spool: Spool, path: Path) -> None:
    """A damaged record does not hide the age of the next one."""
    (segment,) = segments_in(path)
    segment.path.write_bytes(b"\ngarbage\n" + to_lines([b"[]", a_record(0).to_json()]))
    assert spool.backlog_age_s(NOON + timedelta(seconds=5)) == 5
