from __future__ import annotations

import doctest
import itertools
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from leeway.schema import CHURN_SCHEMA
from leeway.store.record import PredictionRecord
from service.spool import spool as spool_module
from service.spool.spool import STATEMENT_ROWS, Spool, SpoolError, UnknownSchema
from tests.leeway.store.records import OTHER_SCHEMA, a_record, some_records
from tests.service.spool.spools import execute, killed_while_appending, open_spool, start_appending, taken, waiting


def test_the_example_of_the_docstring_works() -> None:
    """Append, take and ack do what the documentation of `Spool` shows."""
    assert doctest.testmod(spool_module) == (0, 6)


def test_records_come_out_in_order(spool: Spool) -> None:
    """The oldest record is taken first."""
    records = some_records(3)
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


@pytest.mark.parametrize("count", [0, STATEMENT_ROWS, STATEMENT_ROWS + 1, 2 * STATEMENT_ROWS])
def test_one_call_appends_any_number_of_records(spool: Spool, count: int) -> None:
    """No record, as many as one statement takes, and more: all are appended, in order."""
    spool.append(some_records(count))
    assert waiting(spool) == some_records(count)


def test_a_new_spool_is_empty(spool: Spool) -> None:
    """It has no batch and no backlog."""
    assert (spool.take(10), spool.backlog()) == (None, 0)


def test_records_survive_a_restart(path: Path) -> None:
    """Appended records are still in the file when it is opened again."""
    with open_spool(path) as first:
        first.append(some_records(2))
    with open_spool(path) as second:
        assert waiting(second) == some_records(2)


def test_taking_deletes_nothing(spool: Spool) -> None:
    """Only ack deletes: a drainer that dies in between loses nothing."""
    spool.append(some_records(2))
    spool.take(10)
    assert spool.backlog() == 2


def test_ack_deletes_the_batch_and_nothing_else(spool: Spool) -> None:
    """Records appended after a batch was taken stay."""
    spool.append(some_records(3))
    batch = taken(spool, limit=2)
    spool.append([a_record(3)])
    spool.ack(batch)
    assert waiting(spool) == some_records(2, start=2)


@pytest.mark.parametrize(("limit", "has_more"), [(2, True), (3, False), (4, False)])
def test_a_batch_knows_whether_more_records_wait(spool: Spool, limit: int, *, has_more: bool) -> None:
    """The drainer continues at once only if something is left."""
    spool.append(some_records(3))
    assert taken(spool, limit).has_more is has_more


@pytest.mark.parametrize("changes", [{"score": float("nan")}, {"user_id": "\ud800"}], ids=["no number", "no text"])
def test_an_append_is_all_or_nothing(spool: Spool, changes: dict[str, object]) -> None:
    """One record without a JSON form rejects its whole call with a SpoolError; the next call works."""
    with pytest.raises(SpoolError, match="cannot be written"):
        spool.append([a_record(0), a_record(1, **changes)])
    spool.append([a_record(2)])
    assert waiting(spool) == [a_record(2)]


def test_an_append_to_a_closed_spool_is_a_spool_error(path: Path) -> None:
    """The driver's error is translated."""
    spool = open_spool(path)
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.append([a_record()])


def test_synthetic_records_keep_their_mark(spool: Spool) -> None:
    """Alone or among others, they come out as they went in."""
    records = [a_record(0, is_synthetic=True), *some_records(2, start=1), a_record(3, is_synthetic=True)]
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


def test_optional_fields_may_be_missing(spool: Spool) -> None:
    """A record without customer, month, lookup and trace comes out as it went in."""
    bare = replace(a_record(), user_id=None, as_of=None, lookup_duration_s=None, trace_id=None, span_id=None)
    spool.append([bare])
    assert waiting(spool) == [bare]


# --- schemas and rows that cannot be stored -----------------------------------------------------------------------


def test_records_of_an_older_bundle_keep_their_schema(path: Path) -> None:
    """After a change of bundle the old records are taken first, in a batch of their own, with their schema."""
    old = a_record(0, features=(1.5, "x", 2))
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([old])
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        batch = taken(spool)
        assert (batch.records, batch.has_more) == ([old], True)
        assert spool.schema(batch.fingerprint) == OTHER_SCHEMA


def test_an_unknown_schema_is_an_error_of_its_own(spool: Spool) -> None:
    """The message names the fingerprint."""
    with pytest.raises(UnknownSchema, match="abc"):
        spool.schema("abc")


@pytest.mark.parametrize(
    "payload", ["[" * 3_000, "no json", "[]", "17", '["id", 1e300]', '["id",1,"v",null,null,7,0,0,0,0,0,"",""]']
)
def test_an_invalid_row_does_not_hide_the_others(spool: Spool, path: Path, payload: str) -> None:
    """The batch lists it as unreadable and holds the records around it."""
    spool.append([a_record(0)])
    execute(path, "INSERT INTO records (schema, payload) VALUES (?, ?)", CHURN_SCHEMA.fingerprint, payload)
    spool.append([a_record(1)])
    batch = taken(spool)
    assert (batch.records, batch.unreadable) == ([a_record(0), a_record(1)], (2,))


def test_a_dead_letter_is_kept_with_its_reason(spool: Spool, path: Path) -> None:
    """It no longer waits, but can be read in its table."""
    spool.append(some_records(2))
    spool.move_to_dead_letters([1], "too large")
    assert waiting(spool) == [a_record(1)]
    assert execute(path, "SELECT reason, payload FROM dead_letters") == [("too large", a_record(0).to_json())]


# --- several threads and processes --------------------------------------------------------------------------------


def test_several_processes_append_at_once(path: Path) -> None:
    """Three processes that write at the same time lose and duplicate nothing."""
    children = [start_appending(path, first=first, count=200) for first in (0, 1_000, 2_000)]
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool)]
    assert sorted(ids) == sorted(itertools.chain(*printed))
    assert len(ids) == 600


def test_threads_share_the_appending_connection(spool: Spool) -> None:
    """The event loop and the pool's threads may append at the same time."""

    def append_singly(records: list[PredictionRecord]) -> None:
        for record in records:
            spool.append([record])

    threads = [threading.Thread(target=append_singly, args=(some_records(100, start),)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.prediction_id for record in waiting(spool)} == {each.prediction_id for each in some_records(400)}


def test_an_appended_record_survives_kill_9(path: Path) -> None:
    """Every id that a process printed before it was killed is in the spool, exactly once."""
    printed = killed_while_appending(path)
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool)]
    assert set(printed) <= set(ids)
    assert len(ids) == len(set(ids))


def test_one_process_at_a_time_may_drain(path: Path) -> None:
    """A second lease is not given while the first is held, and given once it is released."""
    with open_spool(path) as one, open_spool(path) as other:
        first = one.lease()
        assert first is not None
        assert other.lease() is None
        first.release()
        second = other.lease()
        assert second is not None
        second.release()
