from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from leeway.schema import CHURN_SCHEMA
from service.spool.reader import READ_BYTES, RESERVE_BYTES, DeadLetter, SpoolReader, UnknownSchema
from service.spool.segments import schema_path, segments_in, to_lines
from service.spool.spool import Spool
from service.spool.status import FILE_NAME, read_status
from tests.leeway.store.records import OTHER_SCHEMA, a_record, some_records
from tests.service.spool.spools import dead_letters, drain_all, open_spool, taken, waiting


def test_an_empty_spool_has_no_batch(spool: Spool, reader: SpoolReader) -> None:
    """None, not an empty one."""
    assert (reader.take(10), reader.is_empty(), spool.backlog()) == (None, True, 0)


def test_taking_deletes_nothing(spool: Spool, reader: SpoolReader) -> None:
    """Only ack does: a drainer that dies in between loses nothing."""
    spool.append(some_records(2))
    assert taken(reader).records == taken(reader).records == some_records(2)
    assert not reader.is_empty()


def test_ack_takes_the_batch_and_nothing_else(spool: Spool, reader: SpoolReader) -> None:
    """Records appended after a batch was taken stay."""
    spool.append(some_records(3))
    batch = taken(reader, limit=2)
    spool.append([a_record(3)])
    reader.ack(batch)
    assert taken(reader).records == some_records(2, start=2)


@pytest.mark.parametrize(("limit", "has_more"), [(2, True), (3, False), (4, False)])
def test_a_batch_knows_whether_more_records_wait(
    spool: Spool, reader: SpoolReader, limit: int, *, has_more: bool
) -> None:
    """The drainer continues at once only if something is left."""
    spool.append(some_records(3))
    assert taken(reader, limit=limit).has_more is has_more


def test_segments_take_turns(path: Path, reader: SpoolReader) -> None:
    """A process that appends all the time does not keep the records of another one waiting."""
    with open_spool(path) as busy, open_spool(path) as other:
        other.append(some_records(2, start=20))
        users = []
        for number in range(0, 6, 2):
            busy.append(some_records(2, start=number))
            batch = taken(reader, limit=2)
            users.append(batch.records[0].user_id)
            reader.ack(batch)
    assert users == ["customer-0", "customer-20", "customer-2"]


def test_a_long_segment_is_read_in_parts(spool: Spool, reader: SpoolReader) -> None:
    """Each part ends with a whole record, and none is missed or taken twice."""
    count = 3 * READ_BYTES // 200
    for start in range(0, count, 1_000):
        spool.append(some_records(1_000, start=start))
    found, batches = [], 0
    while batch := reader.take(count):
        found += batch.records
        batches += 1
        reader.ack(batch)
    assert found == some_records(len(found))
    assert (len(found), batches > 2) == (spool.backlog() + len(found), True)


def test_a_record_longer_than_a_part_is_read(spool: Spool, reader: SpoolReader) -> None:
    """Its end is looked for in the rest of the segment."""
    long = a_record(0, features=("x" * (READ_BYTES + 10),))
    spool.append([long, a_record(1)])
    assert taken(reader).records == [long, a_record(1)]


def test_a_restarted_drainer_continues_where_the_last_one_stopped(spool: Spool, path: Path) -> None:
    """The position is in the status file."""
    spool.append(some_records(5))
    first = SpoolReader(path)
    first.ack(taken(first, limit=3))
    assert taken(SpoolReader(path)).records == some_records(2, start=3)


def test_without_its_status_a_drainer_starts_again(spool: Spool, path: Path) -> None:
    """The database skips what it has; nothing is lost."""
    spool.append(some_records(5))
    first = SpoolReader(path)
    first.ack(taken(first, limit=3))
    (path / FILE_NAME).write_bytes(b"damaged")
    assert taken(SpoolReader(path)).records == some_records(5)


def test_stored_segments_are_deleted_once_nobody_writes_to_them(path: Path) -> None:
    """Not before, or an append would go nowhere."""
    with open_spool(path) as spool:
        spool.append(some_records(2))
        assert drain_all(path) == some_records(2)
        assert len(segments_in(path)) == 1
        spool.append([a_record(2)])
    assert drain_all(path) == [a_record(2)]
    assert segments_in(path) == []


def test_the_status_counts_and_has_no_position_of_a_deleted_segment(path: Path) -> None:
    """It does not grow, and its counters continue after a restart."""
    for number in range(3):
        with open_spool(path) as spool:
            spool.append([a_record(number)])
        drain_all(path)
    reader = SpoolReader(path)
    reader.beat()
    status = read_status(path)
    assert status is not None
    assert (status.written, status.dead_lettered, len(status.positions)) == (3, 0, 0)


# --- the lease --------------------------------------------------------------------------------------------------------


def test_one_drainer_at_a_time_has_the_lease(spool: Spool, path: Path) -> None:
    """A second one gets it once it is released, and knows what the first one has done."""
    spool.append(some_records(2))
    one, other = SpoolReader(path), SpoolReader(path)
    assert (one.lease(), one.lease(), other.lease()) == (True, True, False)
    one.ack(taken(one, limit=1))
    one.release()
    assert (other.lease(), other.holds_lease, one.holds_lease) == (True, True, False)
    assert taken(other).records == [a_record(1)]
    other.release()


def test_the_holder_of_the_lease_removes_unfinished_segments(spool: Spool, path: Path, reader: SpoolReader) -> None:
    """A process that was killed while it created one leaves a file without records."""
    (path / "123.new").touch()
    assert reader.lease()
    assert (list(path.glob("*.new")), len(segments_in(path))) == ([], 1)
    spool.append([a_record()])
    assert taken(reader).records == [a_record()]


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"00000000 " + a_record(9).to_json(),
        *(
            to_lines([payload]).strip(b"\n")
            for payload in (b"[" * 3_000, b"no json", b"[]", b"17", b'["id", 1e300]', b"\xff\xfe")
        ),
    ],
)
def test_a_damaged_record_does_not_hide_the_others(spool: Spool, path: Path, reader: SpoolReader, line: bytes) -> None:
    """The batch lists it and holds the records around it."""
    spool.append([a_record(0)])
    (segment,) = segments_in(path)
    with segment.path.open("ab") as file:
        file.write(b"\n" + line + b"\n")
    spool.append([a_record(1)])
    batch = taken(reader)
    assert (batch.records, batch.damaged, batch.end.records) == ([a_record(0), a_record(1)], [line], 3)
    reader.ack(batch, dead_letters=1)
    status = read_status(path)
    assert status is not None
    assert (status.written, status.dead_lettered, reader.take(10)) == (2, 1, None)


def test_a_record_that_is_not_complete_yet_is_waited_for(spool: Spool, path: Path, reader: SpoolReader) -> None:
    """While its writer lives, a part of a record is a write in progress."""
    spool.append([a_record(0)])
    (segment,) = segments_in(path)
    rest = to_lines([a_record(1).to_json()])
    for part in (rest[:1], rest[1:100]):
        with segment.path.open("ab") as file:
            file.write(part)
        assert taken(reader).records == [a_record(0)]
    reader.ack(taken(reader))
    assert reader.take(10) is None
    with segment.path.open("ab") as file:
        file.write(rest[100:])
    assert taken(reader).records == [a_record(1)]


@pytest.mark.parametrize("left", [1, 20, 200])
def test_a_torn_write_is_set_aside_once_its_writer_is_gone(path: Path, left: int) -> None:
    """What was whole is kept; the segment is deleted afterwards."""
    with open_spool(path) as spool:
        spool.append([a_record(0)])
    (segment,) = segments_in(path)
    torn = to_lines([a_record(1).to_json()])[:left]
    with segment.path.open("ab") as file:
        file.write(torn)
    reader = SpoolReader(path)
    batches = []
    while batch := reader.take(10):
        batches.append((batch.records, batch.torn))
        reader.ack(batch)
    assert batches == [([a_record(0)], b""), *([([], torn)] if left > 1 else [])]
    assert segments_in(path) == []


# --- schemas ----------------------------------------------------------------------------------------------------------


def test_an_unknown_schema_is_an_error_of_its_own(reader: SpoolReader) -> None:
    """The message names the fingerprint."""
    with pytest.raises(UnknownSchema, match="abc"):
        reader.schema("abc")


def test_another_schemas_file_is_an_unknown_schema(spool: Spool, path: Path, reader: SpoolReader) -> None:
    """Records never reach the tables of another schema."""
    spool.append([a_record()])
    theirs = schema_path(path, CHURN_SCHEMA.fingerprint)
    with open_spool(path, schema=OTHER_SCHEMA):
        theirs.write_bytes(schema_path(path, OTHER_SCHEMA.fingerprint).read_bytes())
    with pytest.raises(UnknownSchema, match=CHURN_SCHEMA.fingerprint):
        reader.schema(CHURN_SCHEMA.fingerprint)


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_kept_with_its_reason(spool: Spool, path: Path, reader: SpoolReader) -> None:
    """It can be read in its file, one JSON object a line, and takes space of the spool."""
    reader.keep_dead_letters([DeadLetter("too large", "abc", "first"), DeadLetter("too small", "abc", "second")])
    reader.keep_dead_letters([DeadLetter("too late", "abc", "third")])
    assert [letter["record"] for letter in dead_letters(path)] == ["first", "second", "third"]
    assert dead_letters(path)[0] == {"reason": "too large", "schema": "abc", "record": "first"}
    assert (spool.size_bytes() > 0, waiting(path)) == (True, [])


def test_on_a_full_disk_the_reserve_makes_room_for_dead_letters(
    path: Path, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the segment could not be deleted, and the disk would stay full."""
    reader.beat()
    reserve = path / "drainer.reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    append = SpoolReader._append_dead_letters

    def on_a_full_disk(self: SpoolReader, lines: bytes) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, lines)

    monkeypatch.setattr(SpoolReader, "_append_dead_letters", on_a_full_disk)
    reader.keep_dead_letters([DeadLetter("too large", "abc", "x")])
    assert [letter["record"] for letter in dead_letters(path)] == ["x"]
    reader.beat()
    assert reserve.exists()
