from __future__ import annotations

from pathlib import Path

from leeway.schema import CHURN_SCHEMA
from service.spool.drainer import PredictionWriter
from service.spool.spool import Spool
from tests.leeway.store.records import a_database, open_spool, some_records, start_appending, stored_ids
from tests.service.spool.drainer.sinks import move


def test_a_crash_between_write_and_forget_doubles_nothing(tmp_path: Path, spool: Spool) -> None:
    """The batch is written a second time after the restart, and the database has each prediction once."""
    engine, _, _ = a_database(tmp_path)
    spool.append(some_records(50))
    batch = spool.take(50)
    assert batch is not None
    PredictionWriter(engine).write(CHURN_SCHEMA, [record for _, record in batch.entries])
    move(spool, PredictionWriter(engine).write)
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
        move(spool, PredictionWriter(engine).write)
    assert set(printed) <= set(stored_ids(engine))
    assert len(printed) == len(set(printed))
    engine.dispose()
