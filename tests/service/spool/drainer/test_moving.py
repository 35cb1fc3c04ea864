from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from leeway.schema import FeatureSchema
from leeway.store.predictions import PredictionLogError
from leeway.store.record import PredictionRecord
from service.spool.drainer import DrainerProbe, SpoolDrainer, rest_s
from service.spool.spool import Spool
from tests.leeway.store.records import a_record, open_spool, some_records
from tests.service.spool.drainer.sinks import WAIT_S, ListSink, eventually, move


@pytest.mark.parametrize(("used_bytes", "rests"), [(0, True), (249, True), (250, False), (1_000, False)])
def test_it_rests_only_while_the_spool_has_room(used_bytes: int, rests: bool) -> None:  # noqa: FBT001 (a parameter)
    """Requests come first while there is room; beyond a quarter of the limit, what waits does."""
    assert (rest_s(0.1, used_bytes, 1_000) > 0.1) is rests


def test_everything_is_moved_in_order(spool: Spool) -> None:
    """Batch by batch the spool empties into the database."""
    sink = ListSink()
    spool.append(some_records(25))
    probe = move(spool, sink, batch_rows=10)
    assert sink.stored == some_records(25)
    assert (probe.events, spool.backlog()) == ([("written", 10), ("written", 10), ("written", 5)], 0)


def test_what_arrives_later_is_moved_too(spool: Spool) -> None:
    """The thread looks again and again, without being told."""
    sink = ListSink()
    mover = SpoolDrainer(spool, sink, DrainerProbe(), interval_s=0.01)
    mover.start()
    spool.append([a_record(0)])
    assert eventually(lambda: len(sink.stored) == 1)
    spool.append([a_record(1)])
    assert eventually(lambda: len(sink.stored) == 2)
    assert mover.stop(WAIT_S)


def test_stop_empties_the_spool_and_says_so(spool: Spool) -> None:
    """What was appended just before the end is moved within the time given."""
    mover = SpoolDrainer(spool, ListSink(), DrainerProbe(), interval_s=60)
    mover.start()
    assert eventually(lambda: mover._lease is not None)
    spool.append(some_records(10))
    assert mover.stop(WAIT_S)
    assert spool.backlog() == 0


def test_stop_gives_up_at_once_while_the_database_is_away(spool: Spool) -> None:
    """A shutdown does not wait for an outage to end; the records stay, and it says that something is left."""
    sink = ListSink()
    sink.error = PredictionLogError("away")
    spool.append(some_records(3))
    mover = SpoolDrainer(spool, sink, DrainerProbe(), interval_s=60)
    mover.start()
    started_s = time.monotonic()
    assert not mover.stop(WAIT_S)
    assert time.monotonic() - started_s < WAIT_S / 2
    assert spool.backlog() == 3


def test_stop_does_not_wait_longer_than_told_for_a_hanging_database(spool: Spool) -> None:
    """A sink that hangs holds up no shutdown."""
    hanging, go_on = threading.Event(), threading.Event()

    def hang(schema: FeatureSchema, records: Sequence[PredictionRecord], /) -> None:  # noqa: ARG001 (Sink's)
        hanging.set()
        go_on.wait(WAIT_S)

    spool.append([a_record()])
    mover = SpoolDrainer(spool, hang, DrainerProbe())
    mover.start()
    assert hanging.wait(WAIT_S)
    started_s = time.monotonic()
    assert not mover.stop(0.05)
    assert time.monotonic() - started_s < 5
    go_on.set()
    mover._thread.join(WAIT_S)


def test_a_mover_that_never_started_can_be_stopped(spool: Spool) -> None:
    """A start that failed half-way unwinds without a second error."""
    assert SpoolDrainer(spool, ListSink(), DrainerProbe()).stop(0)


def test_only_one_of_two_processes_moves(tmp_path: Path, spool: Spool) -> None:
    """While another holds the lease, this one leaves the records alone; then it takes over."""
    sink, held = ListSink(), spool.lease()
    assert held is not None
    spool.append(some_records(3))
    with open_spool(tmp_path / "spool.db") as mine:
        mover = SpoolDrainer(mine, sink, DrainerProbe(), interval_s=0.01)
        mover.start()
        time.sleep(0.1)
        assert sink.calls == 0
        held.release()
        assert eventually(lambda: len(sink.stored) == 3)
        assert mover.stop(WAIT_S)
