from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.mover import Mover, NullMoverProbe, Sink, rest_s
from leeway.prediction_log import PredictionLogError, RecordRefused
from leeway.record import PredictionRecord
from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.sink import database_sink
from leeway.spool import Spool
from leeway.spool_file import connect
from tests.leeway.records import (
    OTHER_SCHEMA,
    RememberingProbe,
    a_database,
    a_record,
    fill,
    open_spool,
    some_records,
    start_appending,
    stored_ids,
)

WAIT_S = 20.0


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An open spool."""
    with open_spool(tmp_path / "spool.db") as opened:
        yield opened


class ListSink:
    """A database that is a list, which can be away and can refuse records."""

    def __init__(self) -> None:
        self.stored: list[PredictionRecord] = []
        self.calls = 0
        self.error: Exception | None = None
        self.refuses: Callable[[PredictionRecord], bool] = lambda _: False

    def __call__(self, schema: FeatureSchema, records: Sequence[PredictionRecord], /) -> None:  # noqa: ARG002 (Sink's)
        """Store all records, or raise."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        if any(self.refuses(record) for record in records):
            raise RecordRefused("out of range")
        self.stored += records


def move(spool: Spool, sink: Sink, *, batch_rows: int = 2_000) -> RememberingProbe:
    """Run a mover until it has nothing more to do; return what it told."""
    probe = RememberingProbe()
    mover = Mover(spool, sink, probe, interval_s=0.01, batch_rows=batch_rows)
    mover.start()
    mover.stop(WAIT_S)
    return probe


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, for a bounded time."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize(("used_bytes", "rests"), [(0, True), (249, True), (250, False), (1_000, False)])
def test_it_rests_only_while_the_spool_has_room(used_bytes: int, rests: bool) -> None:  # noqa: FBT001 (a parameter)
    """Requests come first while there is room; beyond a quarter of the limit, what waits does."""
    assert (rest_s(0.1, used_bytes, 1_000) > 0.1) is rests


# --- moving -------------------------------------------------------------------------------------------------------


def test_everything_is_moved_in_order(spool: Spool) -> None:
    """Batch by batch the spool empties into the database."""
    sink = ListSink()
    spool.append(some_records(25))
    probe = move(spool, sink, batch_rows=10)
    assert sink.stored == some_records(25)
    assert (probe.events, spool.backlog()) == ([("moved", 10), ("moved", 10), ("moved", 5)], 0)


def test_what_arrives_later_is_moved_too(spool: Spool) -> None:
    """The thread looks again and again, without being told."""
    sink = ListSink()
    mover = Mover(spool, sink, NullMoverProbe(), interval_s=0.01)
    mover.start()
    spool.append([a_record(0)])
    assert eventually(lambda: len(sink.stored) == 1)
    spool.append([a_record(1)])
    assert eventually(lambda: len(sink.stored) == 2)
    assert mover.stop(WAIT_S)


def test_stop_empties_the_spool_and_says_so(spool: Spool) -> None:
    """What was appended just before the end is moved within the time given."""
    mover = Mover(spool, ListSink(), NullMoverProbe(), interval_s=60)
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
    mover = Mover(spool, sink, NullMoverProbe(), interval_s=60)
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
    mover = Mover(spool, hang, NullMoverProbe())
    mover.start()
    assert hanging.wait(WAIT_S)
    started_s = time.monotonic()
    assert not mover.stop(0.05)
    assert time.monotonic() - started_s < 5
    go_on.set()
    mover._thread.join(WAIT_S)


def test_a_mover_that_never_started_can_be_stopped(spool: Spool) -> None:
    """A start that failed half-way unwinds without a second error."""
    assert Mover(spool, ListSink(), NullMoverProbe()).stop(0)


def test_only_one_of_two_processes_moves(tmp_path: Path, spool: Spool) -> None:
    """While another holds the lease, this one leaves the records alone; then it takes over."""
    sink, held = ListSink(), spool.lease()
    assert held is not None
    spool.append(some_records(3))
    with open_spool(tmp_path / "spool.db") as mine:
        mover = Mover(mine, sink, NullMoverProbe(), interval_s=0.01)
        mover.start()
        time.sleep(0.1)
        assert sink.calls == 0
        held.release()
        assert eventually(lambda: len(sink.stored) == 3)
        assert mover.stop(WAIT_S)


# --- outages ------------------------------------------------------------------------------------------------------


def test_an_outage_of_a_thousand_predictions_loses_none(spool: Spool) -> None:
    """They wait in the spool, and all are there once when the database is back."""
    sink, probe = ListSink(), RememberingProbe()
    sink.error = PredictionLogError("connection refused")
    mover = Mover(spool, sink, probe, interval_s=0.01)
    mover.start()
    for record in some_records(1_000):
        spool.append([record])
    assert eventually(lambda: sink.calls > 2)
    assert spool.backlog() == 1_000
    sink.error = None
    assert mover.stop(WAIT_S)
    assert sorted(each.prediction_id for each in sink.stored) == sorted(
        each.prediction_id for each in some_records(1_000)
    )


def test_an_outage_is_told_once_and_its_end_too(spool: Spool) -> None:
    """However many attempts fail, there is one beginning and one end."""
    sink, probe = ListSink(), RememberingProbe()
    sink.error = PredictionLogError("away")
    spool.append([a_record()])
    mover = Mover(spool, sink, probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: sink.calls > 3)
    sink.error = None
    assert mover.stop(WAIT_S)
    assert probe.names() == ["database_away", "database_back", "moved"]


def test_attempts_grow_rarer_during_an_outage(spool: Spool) -> None:
    """The pause doubles, up to five seconds, and is short again after a success."""
    sink = ListSink()
    sink.error = PredictionLogError("away")
    spool.append([a_record()])
    mover = Mover(spool, sink, NullMoverProbe(), interval_s=0.5)
    pauses = [mover._cycle() for _ in range(6)]
    sink.error = None
    mover._cycle()
    sink.error = PredictionLogError("away again")
    spool.append([a_record(1)])
    assert [*pauses, mover._cycle()] == [1, 2, 4, 5, 5, 5, 1]
    assert mover._lease is not None
    mover._lease.release()


def test_the_journal_is_carried_over_during_an_outage(spool: Spool) -> None:
    """Or it would grow for as long as the database is away."""
    sink = ListSink()
    sink.error = PredictionLogError("away")
    spool.append(some_records(100))
    before = spool.path.stat().st_size
    move(spool, sink)
    assert spool.path.stat().st_size > before


def test_a_database_file_that_cannot_be_opened_is_an_outage(tmp_path: Path, spool: Spool) -> None:
    """Real SQLite without its folder: nothing is lost, and the tables are made when it is back."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'gone' / 'leeway.db'}")
    probe = RememberingProbe()
    spool.append(some_records(1_000))
    mover = Mover(spool, database_sink(engine), probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: "database_away" in probe.names())
    (tmp_path / "gone").mkdir()
    assert eventually(lambda: spool.backlog() == 0)
    assert mover.stop(WAIT_S)
    assert stored_ids(engine) == sorted(each.prediction_id for each in some_records(1_000))
    engine.dispose()


def test_a_locked_database_is_an_outage(tmp_path: Path, spool: Spool) -> None:
    """Real SQLite held by another writer: the records wait until it lets go."""
    made, _, _ = a_database(tmp_path)
    made.dispose()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'leeway.db'}", connect_args={"timeout": 0.01})
    probe = RememberingProbe()
    spool.append(some_records(10))
    with closing(sqlite3.connect(tmp_path / "leeway.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        mover = Mover(spool, database_sink(engine), probe, interval_s=0.01)
        mover.start()
        assert eventually(lambda: "database_away" in probe.names())
        other.execute("ROLLBACK")
    assert eventually(lambda: spool.backlog() == 0)
    assert mover.stop(WAIT_S)
    assert len(stored_ids(engine)) == 10
    engine.dispose()


# --- crashes ------------------------------------------------------------------------------------------------------


def test_a_crash_between_write_and_forget_doubles_nothing(tmp_path: Path, spool: Spool) -> None:
    """The batch is written a second time after the restart, and the database has each prediction once."""
    engine, _, _ = a_database(tmp_path)
    spool.append(some_records(50))
    batch = spool.take(50)
    assert batch is not None
    database_sink(engine)(CHURN_SCHEMA, [record for _, record in batch.entries])
    move(spool, database_sink(engine))
    assert stored_ids(engine) == sorted(each.prediction_id for each in some_records(50))
    assert spool.backlog() == 0
    engine.dispose()


def test_after_kill_9_every_answered_id_is_in_the_database_once(tmp_path: Path) -> None:
    """A process is killed under load, twice; what it acknowledged is moved after the restart."""
    path, printed = tmp_path / "spool.db", []
    engine, _, _ = a_database(tmp_path)
    for first in (0, 10_000):
        child = start_appending(path, first=first)
        assert child.stdout is not None
        printed += [child.stdout.readline().strip() for _ in range(200)]
        child.kill()
        printed += child.communicate()[0].split("\n")[:-1]
    with open_spool(path) as spool:
        move(spool, database_sink(engine))
    assert set(printed) <= set(stored_ids(engine))
    assert len(printed) == len(set(printed))
    engine.dispose()


# --- what can never be stored -------------------------------------------------------------------------------------


def test_a_poison_record_is_refused_alone(spool: Spool) -> None:
    """The others of its batch are stored; it is kept aside with the reason."""
    sink = ListSink()
    sink.refuses = lambda record: record.prediction_id == a_record(13).prediction_id
    spool.append(some_records(40))
    probe = move(spool, sink)
    assert sink.stored == [each for each in some_records(40) if each != a_record(13)]
    assert (probe.total("moved"), probe.total("refused"), spool.backlog()) == (39, 1, 0)


def test_a_value_that_no_column_holds_is_refused_alone(tmp_path: Path, spool: Spool) -> None:
    """The same with a real database: a flag that is neither true nor false."""
    engine, _, _ = a_database(tmp_path)
    spool.append([a_record(0), a_record(1, features={"paperless_billing": 5}), a_record(2)])
    probe = move(spool, database_sink(engine))
    assert stored_ids(engine) == [a_record(0).prediction_id, a_record(2).prediction_id]
    assert probe.total("refused") == 1
    engine.dispose()


def test_an_unreadable_row_is_refused_alone(spool: Spool) -> None:
    """A payload that is no record does not hold up the others."""
    sink = ListSink()
    spool.append([a_record(0)])
    with closing(connect(spool.path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES (?, 'x')", (CHURN_SCHEMA.fingerprint,))
    spool.append([a_record(1)])
    probe = move(spool, sink)
    assert (sink.stored, probe.total("refused"), spool.backlog()) == ([a_record(0), a_record(1)], 1, 0)


def test_records_of_a_schema_that_nobody_knows_are_refused(spool: Spool) -> None:
    """Without a schema there is no table for them."""
    with closing(connect(spool.path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES ('abc', ?)", (a_record(0).to_json(),))
    spool.append([a_record(1)])
    sink = ListSink()
    probe = move(spool, sink)
    assert (sink.stored, probe.total("refused")) == ([a_record(1)], 1)


def test_any_other_failure_is_told_and_the_thread_goes_on(spool: Spool) -> None:
    """The broad except at the loop's boundary: nothing is lost, nothing is refused, nothing dies."""
    sink, probe = ListSink(), RememberingProbe()
    sink.error = ZeroDivisionError("a bug")
    spool.append(some_records(2))
    mover = Mover(spool, sink, probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: "failed" in probe.names())
    sink.error = None
    assert eventually(lambda: len(sink.stored) == 2)
    assert mover.stop(WAIT_S)
    assert set(probe.names()) == {"failed", "moved"}


def test_what_an_older_bundle_left_goes_to_its_own_tables(tmp_path: Path) -> None:
    """After a change of bundle, each record reaches the tables of the schema it was made with."""
    engine, _, _ = a_database(tmp_path)
    with open_spool(tmp_path / "spool.db", schema=OTHER_SCHEMA) as spool:
        spool.append([a_record(0, features={"score": 1.5, "subject": "x", "rows": 2})])
    with open_spool(tmp_path / "spool.db") as spool:
        spool.append([a_record(1)])
        move(spool, database_sink(engine))
    assert stored_ids(engine, OTHER_SCHEMA) == [a_record(0).prediction_id]
    assert stored_ids(engine) == [a_record(1).prediction_id]
    engine.dispose()


def test_a_full_spool_takes_appends_again_after_moving(tmp_path: Path) -> None:
    """The limit is reached during an outage; when the mover has emptied the spool, answers are recorded again."""
    with open_spool(tmp_path / "spool.db", limit_bytes=2**18) as spool:
        appended = fill(spool)
        sink = ListSink()
        move(spool, sink)
        spool.append([a_record(appended)])
        assert (len(sink.stored), spool.backlog()) == (appended, 1)
