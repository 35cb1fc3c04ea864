from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLogError
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer, WriteRecords
from service.spool.reader import Origin, SpoolReader
from service.spool.segments import segments_in, to_lines
from service.spool.spool import Spool
from service.spool.status import DrainerStatus, read_status
from tests.leeway.store.records import OTHER_SCHEMA, a_record, some_records, stored_ids
from tests.service.processes import eventually
from tests.service.spool.spools import (
    WAIT_S,
    ListWriter,
    RecordedEvents,
    dead_letters,
    drain,
    fill,
    killed_while_appending,
    open_spool,
    taken,
)

NOWHERE = Origin("", ())


def ids(records: Sequence[PredictionRecord]) -> list[str]:
    """The records' ids, in order of id."""
    return sorted(record.prediction_id for record in records)


@contextmanager
def draining(
    spool: Spool, write: WriteRecords, probe: DrainerProbe | None = None, interval_s: float = 0.01
) -> Iterator[SpoolDrainer]:
    """A running drainer, which must empty the spool at the end."""
    drainer = SpoolDrainer(SpoolReader(spool.path), write, probe or DrainerProbe(), interval_s=interval_s)
    drainer.start()
    yield drainer
    assert drainer.stop(WAIT_S)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine on a SQLite file that does not exist yet."""
    engine = open_engine(f"sqlite:///{tmp_path / 'leeway.db'}")
    yield engine
    engine.dispose()


def test_everything_is_written_in_order(spool: Spool) -> None:
    """The spool empties into the database batch by batch."""
    database = ListWriter()
    spool.append(some_records(25))
    probe = drain(spool, database.write, batch_rows=10)
    assert database.stored == some_records(25)
    assert (probe.events, spool.backlog()) == ([("written", 10), ("written", 10), ("written", 5)], 0)


def test_records_appended_later_are_written_too(spool: Spool) -> None:
    """The thread polls the spool."""
    database = ListWriter()
    with draining(spool, database.write):
        for number in range(2):
            spool.append([a_record(number)])
            assert eventually(lambda: len(database.stored) == number + 1)  # noqa: B023 (called in this round)


def test_only_one_of_two_processes_drains(path: Path, spool: Spool) -> None:
    """While another process holds the lease, this one leaves the records alone; then it takes over."""
    database, other = ListWriter(), SpoolReader(path)
    assert other.lease()
    spool.append(some_records(3))
    with draining(spool, database.write):
        time.sleep(0.1)
        assert database.calls == 0
        other.release()
        assert eventually(lambda: len(database.stored) == 3)


def test_the_writer_creates_missing_tables(engine: sa.Engine) -> None:
    """A database that is new, or was emptied, gets the tables of the records' schema."""
    write = PredictionWriter(engine).write
    write(CHURN_SCHEMA, [a_record(0)], NOWHERE)
    with engine.begin() as connection:
        tables_for(CHURN_SCHEMA).metadata.drop_all(connection)
    with pytest.raises(PredictionLogError):
        write(CHURN_SCHEMA, [a_record(1)], NOWHERE)
    write(CHURN_SCHEMA, [a_record(1)], NOWHERE)
    assert stored_ids(engine) == ids([a_record(1)])


def test_records_of_an_older_bundle_go_to_their_own_tables(engine: sa.Engine, path: Path) -> None:
    """After a change of bundle each record reaches the tables of the schema that it was made with."""
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([a_record(0, features=(1.5, "x", 2))])
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        drain(spool, PredictionWriter(engine).write)
    assert stored_ids(engine, OTHER_SCHEMA) == ids([a_record(0)])
    assert stored_ids(engine) == ids([a_record(1)])


def test_a_full_spool_takes_appends_again_after_draining(path: Path) -> None:
    """An outage fills the spool; once the drainer has emptied it, predictions are recorded again."""
    database = ListWriter()
    with open_spool(path, limit_bytes=2**18) as spool:
        appended = fill(spool)
        drain(spool, database.write)
        spool.append([a_record(appended)])
        assert (len(database.stored), spool.backlog()) == (appended, 1)


# --- stopping -----------------------------------------------------------------------------------------------------


def test_stop_empties_the_spool(spool: Spool) -> None:
    """Records appended just before the end are written within the time given."""
    with draining(spool, ListWriter().write, interval_s=60) as drainer:
        assert eventually(lambda: drainer._reader.holds_lease)
        spool.append(some_records(10))
    assert spool.backlog() == 0


def test_stop_gives_up_at_once_during_an_outage(spool: Spool) -> None:
    """A shutdown does not wait for an outage to end; the records stay and the result says so."""
    spool.append(some_records(3))
    drainer = SpoolDrainer(
        SpoolReader(spool.path), ListWriter(PredictionLogError("unreachable")).write, DrainerProbe(), interval_s=60
    )
    drainer.start()
    started_s = time.monotonic()
    assert not drainer.stop(WAIT_S)
    assert time.monotonic() - started_s < WAIT_S / 2
    assert spool.backlog() == 3


def test_stop_does_not_wait_for_a_hanging_database(spool: Spool) -> None:
    """Stop returns after its timeout."""
    hanging, resume = threading.Event(), threading.Event()

    def hang(_schema: FeatureSchema, _records: Sequence[PredictionRecord], _origin: Origin) -> None:
        hanging.set()
        resume.wait(WAIT_S)

    spool.append([a_record()])
    drainer = SpoolDrainer(SpoolReader(spool.path), hang, DrainerProbe())
    drainer.start()
    assert hanging.wait(WAIT_S)
    started_s = time.monotonic()
    assert not drainer.stop(0.05)
    assert time.monotonic() - started_s < 5
    resume.set()
    drainer._thread.join(WAIT_S)


def test_a_drainer_that_never_started_can_be_stopped(spool: Spool) -> None:
    """A failed start unwinds without a second error."""
    assert SpoolDrainer(SpoolReader(spool.path), ListWriter().write, DrainerProbe()).stop(0)


# --- outages ------------------------------------------------------------------------------------------------------


def test_an_outage_of_ten_thousand_predictions_loses_none(spool: Spool) -> None:
    """They wait in the spool, each is written once, and the probe sees one beginning and one end of the outage."""
    database, probe = ListWriter(PredictionLogError("connection refused")), RecordedEvents()
    records = some_records(10_000)
    with draining(spool, database.write, probe):
        for record in records:
            spool.append([record])
        assert eventually(lambda: database.calls > 3)
        assert spool.backlog() == 10_000
        database.error = None
    assert ids(database.stored) == ids(records)
    assert probe.names()[:2] == ["outage_began", "outage_ended"]
    assert (set(probe.names()[2:]), probe.total("written")) == ({"written"}, 10_000)


def test_the_status_says_that_the_database_is_unreachable(spool: Spool) -> None:
    """And no longer does so once it is back; the drainer says in both cases that it is alive."""
    database = ListWriter(PredictionLogError("connection refused"))
    spool.append([a_record()])
    before = time.time()
    with draining(spool, database.write):
        assert eventually(lambda: status_of(spool).is_outage)
        database.error = None
        assert eventually(lambda: not status_of(spool).is_outage)
    assert status_of(spool).updated_at >= before


def status_of(spool: Spool) -> DrainerStatus:
    """What the drainer says."""
    return read_status(spool.path) or DrainerStatus()


def test_retries_back_off_during_an_outage(spool: Spool) -> None:
    """The delay doubles up to five seconds, and is short again after a success."""
    database = ListWriter(PredictionLogError("unreachable"))
    spool.append([a_record()])
    drainer = SpoolDrainer(SpoolReader(spool.path), database.write, DrainerProbe(), interval_s=0.5)
    delays = [drainer._cycle() for _ in range(6)]
    database.error = None
    drainer._cycle()
    database.error = PredictionLogError("unreachable again")
    spool.append([a_record(1)])
    assert [*delays, drainer._cycle()] == [1, 2, 4, 5, 5, 5, 1]
    drainer._reader.release()


def test_a_database_file_that_cannot_be_opened_is_an_outage(tmp_path: Path, spool: Spool) -> None:
    """With SQLite's folder missing nothing is lost, and the tables are created once it exists."""
    engine, probe = sa.create_engine(f"sqlite:///{tmp_path / 'missing' / 'leeway.db'}"), RecordedEvents()
    spool.append(some_records(1_000))
    with draining(spool, PredictionWriter(engine).write, probe):
        assert eventually(lambda: "outage_began" in probe.names())
        (tmp_path / "missing").mkdir()
        assert eventually(lambda: spool.backlog() == 0)
    assert stored_ids(engine) == ids(some_records(1_000))
    engine.dispose()


def test_a_locked_database_is_an_outage(tmp_path: Path, spool: Spool) -> None:
    """While another writer holds SQLite's lock, the records wait."""
    database, probe = tmp_path / "leeway.db", RecordedEvents()
    engine = sa.create_engine(f"sqlite:///{database}", connect_args={"timeout": 0.01})
    spool.append(some_records(10))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with draining(spool, PredictionWriter(engine).write, probe):
            assert eventually(lambda: "outage_began" in probe.names())
            other.execute("ROLLBACK")
            assert eventually(lambda: spool.backlog() == 0)
    assert len(stored_ids(engine)) == 10
    engine.dispose()


def test_any_other_failure_is_reported_and_retried(spool: Spool) -> None:
    """The broad except at the loop's boundary: nothing is lost, nothing is a dead letter, the thread lives."""
    database, probe = ListWriter(ZeroDivisionError("a bug")), RecordedEvents()
    spool.append(some_records(2))
    with draining(spool, database.write, probe):
        assert eventually(lambda: "failed" in probe.names())
        database.error = None
        assert eventually(lambda: len(database.stored) == 2)
    assert set(probe.names()) == {"failed", "written"}


# --- crashes ------------------------------------------------------------------------------------------------------


def test_a_crash_between_write_and_ack_duplicates_nothing(engine: sa.Engine, spool: Spool) -> None:
    """The batch is written a second time after the restart, and the database has each prediction once."""
    spool.append(some_records(50))
    batch = taken(SpoolReader(spool.path))
    PredictionWriter(engine).write(CHURN_SCHEMA, batch.records, batch.origin)
    drain(spool, PredictionWriter(engine).write)
    assert (stored_ids(engine), spool.backlog()) == (ids(some_records(50)), 0)


def test_after_kill_9_every_appended_id_is_in_the_database_once(engine: sa.Engine, path: Path) -> None:
    """A process is killed under load, twice; what it acknowledged is written after the restart."""
    printed = [*killed_while_appending(path), *killed_while_appending(path, first=10_000)]
    with open_spool(path) as spool:
        drain(spool, PredictionWriter(engine).write)
    assert set(printed) <= set(stored_ids(engine))
    assert len(printed) == len(set(printed))


# --- dead letters -------------------------------------------------------------------------------------------------


def test_a_poison_record_becomes_a_dead_letter_alone(spool: Spool) -> None:
    """The other records of its batch are stored."""
    database = ListWriter()
    database.rejects = lambda record: record.prediction_id == a_record(13).prediction_id
    spool.append(some_records(40))
    probe = drain(spool, database.write)
    assert database.stored == [each for each in some_records(40) if each != a_record(13)]
    assert (probe.total("written"), probe.total("dead_lettered"), spool.backlog()) == (39, 1, 0)


def test_a_value_that_no_column_holds_becomes_a_dead_letter(engine: sa.Engine, spool: Spool) -> None:
    """The same with a real database: a flag that is neither true nor false."""
    spool.append([a_record(0), a_record(1, features=CHURN_SCHEMA.row({"paperless_billing": 5})), a_record(2)])
    probe = drain(spool, PredictionWriter(engine).write)
    assert stored_ids(engine) == ids([a_record(0), a_record(2)])
    assert probe.total("dead_lettered") == 1


def test_dead_letters_and_their_reasons_are_kept(spool: Spool) -> None:
    """Each is counted and stands in the spool's file with its reason; nothing waits for it."""
    database = ListWriter()
    database.rejects = lambda record: record.user_id == "customer-1"
    spool.append([a_record(0), a_record(1)])
    (segment,) = segments_in(spool.path)
    with segment.path.open("ab") as file:
        file.write(b"\ngar\xffbage\n" + to_lines([b"[]"]))
    spool.append([a_record(2)])
    probe = drain(spool, database.write)
    assert (database.stored, spool.backlog()) == ([a_record(0), a_record(2)], 0)
    assert (probe.total("written"), probe.total("dead_lettered")) == (2, 3)
    assert [(each["reason"], each["record"]) for each in dead_letters(spool.path)] == [
        ("damaged record", "gar\xffbage"),
        ("damaged record", "0d4cbb29 []"),
        ("out of range", a_record(1).to_json().decode()),
    ]


def test_records_of_an_unknown_schema_become_dead_letters(path: Path) -> None:
    """They do not hold up the others; the reason names the schema."""
    database = ListWriter()
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([a_record(0, features=(1.5, "x", 2))])
    (path / "schemas" / f"{OTHER_SCHEMA.fingerprint}.json").unlink()
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        probe = drain(spool, database.write)
    assert (database.stored, probe.total("dead_lettered")) == ([a_record(1)], 1)
    assert OTHER_SCHEMA.fingerprint in dead_letters(path)[0]["reason"]


def test_what_a_killed_writer_left_is_no_lost_prediction(path: Path) -> None:
    """A torn write was never answered: it is set aside and reported, but not counted."""
    with open_spool(path) as spool:
        spool.append([a_record(0)])
    (segment,) = segments_in(path)
    with segment.path.open("ab") as file:
        file.write(to_lines([a_record(1).to_json()])[:100])
    with open_spool(path) as spool:
        probe = drain(spool, ListWriter().write)
    assert probe.events == [("written", 1), ("torn", 100)]
    assert [each["reason"] for each in dead_letters(path)] == ["torn write"]


def test_an_outage_in_the_middle_of_a_batch_repeats_no_dead_letter(spool: Spool) -> None:
    """The dead letters of a batch are kept last, when everything else of it is stored."""
    spool.append(some_records(2))
    database = ListWriter()
    database.rejects = lambda record: record.user_id == "customer-0"
    accept = database.write

    def fail_after_rejection(schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin) -> None:
        if database.calls == 2:
            database.calls += 1
            raise PredictionLogError("unreachable")
        accept(schema, records, origin)

    with draining(spool, fail_after_rejection):
        assert eventually(lambda: spool.backlog() == 0)
    assert (database.stored, len(dead_letters(spool.path))) == ([a_record(1)], 1)
