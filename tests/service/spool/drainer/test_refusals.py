from __future__ import annotations

from contextlib import closing
from pathlib import Path

from leeway.schema import CHURN_SCHEMA
from service.spool.drainer import PredictionWriter, SpoolDrainer
from service.spool.file import connect
from service.spool.spool import Spool
from tests.leeway.store.records import (
    OTHER_SCHEMA,
    RememberingProbe,
    a_database,
    a_record,
    fill,
    open_spool,
    some_records,
    stored_ids,
)
from tests.service.spool.drainer.sinks import WAIT_S, ListSink, eventually, move


def test_a_poison_record_is_refused_alone(spool: Spool) -> None:
    """The others of its batch are stored; it is kept aside with the reason."""
    sink = ListSink()
    sink.refuses = lambda record: record.prediction_id == a_record(13).prediction_id
    spool.append(some_records(40))
    probe = move(spool, sink)
    assert sink.stored == [each for each in some_records(40) if each != a_record(13)]
    assert (probe.total("written"), probe.total("dead_lettered"), spool.backlog()) == (39, 1, 0)


def test_a_value_that_no_column_holds_is_refused_alone(tmp_path: Path, spool: Spool) -> None:
    """The same with a real database: a flag that is neither true nor false."""
    engine, _, _ = a_database(tmp_path)
    spool.append([a_record(0), a_record(1, features=CHURN_SCHEMA.row({"paperless_billing": 5})), a_record(2)])
    probe = move(spool, PredictionWriter(engine).write)
    assert stored_ids(engine) == [a_record(0).prediction_id, a_record(2).prediction_id]
    assert probe.total("dead_lettered") == 1
    engine.dispose()


def test_an_unreadable_row_is_refused_alone(spool: Spool) -> None:
    """A payload that is no record does not hold up the others."""
    sink = ListSink()
    spool.append([a_record(0)])
    with closing(connect(spool.path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES (?, 'x')", (CHURN_SCHEMA.fingerprint,))
    spool.append([a_record(1)])
    probe = move(spool, sink)
    assert (sink.stored, probe.total("dead_lettered"), spool.backlog()) == ([a_record(0), a_record(1)], 1, 0)


def test_records_of_a_schema_that_nobody_knows_are_refused(spool: Spool) -> None:
    """Without a schema there is no table for them."""
    with closing(connect(spool.path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES ('abc', ?)", (a_record(0).to_json(),))
    spool.append([a_record(1)])
    sink = ListSink()
    probe = move(spool, sink)
    assert (sink.stored, probe.total("dead_lettered")) == ([a_record(1)], 1)


def test_any_other_failure_is_told_and_the_thread_goes_on(spool: Spool) -> None:
    """The broad except at the loop's boundary: nothing is lost, nothing is refused, nothing dies."""
    sink, probe = ListSink(), RememberingProbe()
    sink.error = ZeroDivisionError("a bug")
    spool.append(some_records(2))
    mover = SpoolDrainer(spool, sink, probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: "failed" in probe.names())
    sink.error = None
    assert eventually(lambda: len(sink.stored) == 2)
    assert mover.stop(WAIT_S)
    assert set(probe.names()) == {"failed", "written"}


def test_what_an_older_bundle_left_goes_to_its_own_tables(tmp_path: Path) -> None:
    """After a change of bundle, each record reaches the tables of the schema it was made with."""
    engine, _, _ = a_database(tmp_path)
    with open_spool(tmp_path / "spool.db", schema=OTHER_SCHEMA) as spool:
        spool.append([a_record(0, features=(1.5, "x", 2))])
    with open_spool(tmp_path / "spool.db") as spool:
        spool.append([a_record(1)])
        move(spool, PredictionWriter(engine).write)
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
