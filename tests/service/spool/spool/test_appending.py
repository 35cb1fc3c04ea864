from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from service.spool.appender import STATEMENT_ROWS
from service.spool.spool import Spool, SpoolError
from tests.leeway.store.records import a_record, open_spool, some_records
from tests.service.spool.spool.contents import taken, waiting


def test_what_is_appended_is_taken_in_order(spool: Spool) -> None:
    """Records come out as they went in, the oldest first."""
    records = some_records(3)
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


@pytest.mark.parametrize("count", [0, STATEMENT_ROWS, STATEMENT_ROWS + 1, 2 * STATEMENT_ROWS])
def test_a_call_takes_any_number_of_records(spool: Spool, count: int) -> None:
    """None, as many as one statement takes, and more: all are there, in order."""
    spool.append(some_records(count))
    assert waiting(spool) == some_records(count)


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
    spool.ack(batch)
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


def test_a_check_keeps_its_mark(spool: Spool) -> None:
    """Alone or between others, it comes out as it went in."""
    records = [a_record(0, is_synthetic=True), *some_records(2, start=1), a_record(3, is_synthetic=True)]
    spool.append(records[:1])
    spool.append(records[1:])
    assert waiting(spool) == records


def test_records_with_nothing_known_but_the_answer_pass(spool: Spool) -> None:
    """No customer, no month, no look-up, no trace: all of these may be missing."""
    bare = replace(a_record(), user_id=None, as_of=None, lookup_duration_s=None, trace_id=None, span_id=None)
    spool.append([bare])
    assert waiting(spool) == [bare]
