from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from leeway.store.predictions import PredictionLogError
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.spool import Spool
from tests.leeway.store.records import RememberingProbe, a_database, a_record, some_records, stored_ids
from tests.service.spool.drainer.sinks import WAIT_S, ListSink, eventually, move


def test_an_outage_of_a_thousand_predictions_loses_none(spool: Spool) -> None:
    """They wait in the spool, and all are there once when the database is back."""
    sink, probe = ListSink(), RememberingProbe()
    sink.error = PredictionLogError("connection refused")
    mover = SpoolDrainer(spool, sink, probe, interval_s=0.01)
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
    mover = SpoolDrainer(spool, sink, probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: sink.calls > 3)
    sink.error = None
    assert mover.stop(WAIT_S)
    assert probe.names() == ["outage_began", "outage_ended", "written"]


def test_attempts_grow_rarer_during_an_outage(spool: Spool) -> None:
    """The pause doubles, up to five seconds, and is short again after a success."""
    sink = ListSink()
    sink.error = PredictionLogError("away")
    spool.append([a_record()])
    mover = SpoolDrainer(spool, sink, DrainerProbe(), interval_s=0.5)
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
    mover = SpoolDrainer(spool, PredictionWriter(engine).write, probe, interval_s=0.01)
    mover.start()
    assert eventually(lambda: "outage_began" in probe.names())
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
        mover = SpoolDrainer(spool, PredictionWriter(engine).write, probe, interval_s=0.01)
        mover.start()
        assert eventually(lambda: "outage_began" in probe.names())
        other.execute("ROLLBACK")
    assert eventually(lambda: spool.backlog() == 0)
    assert mover.stop(WAIT_S)
    assert len(stored_ids(engine)) == 10
    engine.dispose()
