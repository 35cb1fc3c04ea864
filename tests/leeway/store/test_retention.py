from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, FeatureRow, FeatureSchema, Value
from leeway.store import predictions, retention
from leeway.store.bulk_insert import insert_rows
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.engine import DatabaseError, create_tables
from leeway.store.erasures import lock_storing
from leeway.store.predictions import PredictionLabel, PredictionLog
from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from leeway.store.retention import customer_times, empty_write_ahead_log, forget, prune
from leeway.store.snapshots import Snapshots
from leeway.store.tables import Tables, tables_for
from tests.leeway.store.databases import empty_tables
from tests.leeway.store.records import HOUR, IDS, MONTH, NOON, OTHER_SCHEMA, a_database, a_record

DAY = timedelta(days=1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database server, or None for SQLite."""
    url: str | None = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    return url


@pytest.fixture
def database(server: str | None, engine: sa.Engine) -> Iterator[sa.Engine]:
    """Each kind of database, empty."""
    if server is None:
        yield engine
    else:
        with empty_tables(server) as opened:
            yield opened


def a_run(run_id: str, finished_at: datetime, model: str = "churn", share: float | None = 0.1) -> DriftRun:
    """A finished run."""
    state: dict[str, Any] = {}
    return DriftRun(
        *(run_id, finished_at, model, "v1", finished_at - HOUR, finished_at, 1, 1, share, "NO_ACTION", "NO_ACTION"),
        *("", state, state, None),
    )


def fill(database: sa.Engine, tables: Tables) -> None:
    """Five predictions a day apart with labels, an orphaned label, rejection counts, and runs of two models."""
    log = PredictionLog(database, tables)
    log.write_batch([a_record(number, predicted_at=NOON + number * DAY) for number in range(5)])
    log.write_labels([PredictionLabel(IDS[number], 1) for number in (0, 4)], NOON + 4 * DAY)
    log.write_labels([PredictionLabel(IDS[9], 1)], NOON)
    counts = [RejectedItems(NOON + number * DAY, "a", ANY, ANY, 2) for number in range(5)]
    RejectionLog(database, tables).write(counts)
    runs = DriftLog(database, tables)
    for number in range(5):
        runs.save(a_run(f"run-{number}", NOON + number * DAY, share=None if number else 0.1))
    runs.save(a_run("other", NOON, "other"))


def left(database: sa.Engine, tables: Tables) -> dict[str, set[Any]]:
    """The keys of all rows."""
    columns = {
        "predictions": tables.predictions.c.prediction_id,
        "labels": tables.prediction_labels.c.prediction_id,
        "rejections": tables.rejections.c.minute,
        "runs": tables.drift_runs.c.run_id,
    }
    with database.connect() as connection:
        return {name: set(connection.scalars(sa.select(column))) for name, column in columns.items()}


def test_what_is_older_is_deleted(database: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches; the newest run of each model stays, and its newest with a result. A dry run counts the same."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    fill(database, tables)
    before = left(database, tables)
    counted = prune(database, NOON + 3 * DAY, is_dry_run=True)
    assert left(database, tables) == before
    assert counted == {"predictions": 3, "labels": 2, "rejection counts": 3, "drift runs": 2}
    assert prune(database, NOON + 3 * DAY) == counted
    assert left(database, tables) == {
        "predictions": set(IDS[3:5]),
        "labels": {IDS[4]},
        "rejections": {NOON + 3 * DAY, NOON + 4 * DAY},
        "runs": {"run-0", "run-3", "run-4", "other"},
    }
    assert not prune(database, NOON + 3 * DAY).total()


def test_the_latest_time_of_pruning_is_kept(database: sa.Engine, tables: Tables) -> None:
    """Whom older reports show is unknown then; a dry run, and one that deletes no prediction, change nothing."""

    def pruned(before: datetime, *, is_dry_run: bool = False) -> datetime | None:
        prune(database, before, is_dry_run=is_dry_run)
        return customer_times(database, "ann").pruned_before

    fill(database, tables)
    assert pruned(NOON + DAY, is_dry_run=True) is pruned(NOON) is None
    assert pruned(NOON + 2 * DAY) == pruned(NOON + 2 * DAY) == pruned(NOON + DAY) == NOON + 2 * DAY
    assert pruned(NOON + 3 * DAY) == NOON + 3 * DAY
    assert pruned(NOON + 900 * DAY) == NOON + 900 * DAY
    assert pruned(NOON + 901 * DAY) == NOON + 900 * DAY


def test_other_schemas_are_pruned_too(engine: sa.Engine, tables: Tables) -> None:
    """A database may hold several models."""
    others = tables_for(OTHER_SCHEMA)
    create_tables(engine, others)
    log = PredictionLog(engine, others)
    log.write_batch([a_record(number, features=(0.5, "a", 1), predicted_at=NOON) for number in range(3)])
    assert prune(engine, NOON + DAY)["predictions"] == 3
    assert log.window(NOON, NOON + HOUR).rows == 0
    assert left(engine, tables)["predictions"] == set()


def test_an_interrupted_run_can_be_repeated(engine: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it deleted is the oldest, with its labels, and the next run deletes the rest."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    fill(engine, tables)
    delete, calls = retention._delete, []

    def interrupted(*args: Any) -> int:  # noqa: ANN401 (passed on)
        calls.append(args)
        if len(calls) == 4:  # in the second batch, between its labels and its predictions
            raise KeyboardInterrupt
        return delete(*args)

    monkeypatch.setattr(retention, "_delete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune(engine, NOON + 5 * DAY)
    assert left(engine, tables)["predictions"] == set(IDS[2:5])
    assert left(engine, tables)["labels"] == {IDS[4], IDS[9]}
    assert prune(engine, NOON + 5 * DAY)["predictions"] == 3


def test_an_empty_database_has_nothing_to_delete() -> None:
    """Before the first start there are no tables."""
    engine = sa.create_engine("sqlite://")
    assert not prune(engine, NOON)
    engine.dispose()


def test_a_naive_time_is_rejected(engine: sa.Engine) -> None:
    """It could mean any time zone."""
    with pytest.raises(ValueError, match="no time zone"):
        prune(engine, NOON.replace(tzinfo=None))


def test_an_unreachable_database_is_an_error(unreachable: sa.Engine) -> None:
    """The driver's error is translated."""
    with pytest.raises(DatabaseError):
        prune(unreachable, NOON)
    with pytest.raises(DatabaseError):
        forget(unreachable, "ann")


def fill_for(database: sa.Engine, schema: FeatureSchema, features: FeatureRow) -> None:
    """Three labelled predictions and a labelled snapshot each for Ann and Bob."""
    tables = tables_for(schema)
    create_tables(database, tables)
    log, start = PredictionLog(database, tables), 0
    for user_id in ("ann", "bob"):
        numbers = range(start, start := start + 3)
        log.write_batch([a_record(number, user_id=user_id, features=features) for number in numbers])
        log.write_labels([PredictionLabel(IDS[number], 1) for number in numbers], NOON)
    columns = {name: [value] * 2 for name, value in zip(schema.names, features, strict=True)}
    Snapshots(database, tables).ingest(MONTH, ["ann", "bob"], columns, [0, 1])


OF_ONE = {"predictions": 3, "labels": 4, "snapshots": 1}


def test_all_of_a_customer_is_deleted(database: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, and nothing of others; a dry run counts the same and leaves no tombstone."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    fill_for(database, CHURN_SCHEMA, a_record().features)
    assert customer_times(database, "ann") == ([a_record(number).predicted_at for number in range(3)], [MONTH], None)
    assert forget(database, "ann", is_dry_run=True) == OF_ONE
    assert forget(database, "ann") == OF_ONE
    assert left(database, tables)["predictions"] == left(database, tables)["labels"] == set(IDS[3:6])
    snapshots = Snapshots(database, tables)
    assert (snapshots.lookup("ann"), snapshots.labels(MONTH)) == (None, {"bob": 1})
    assert not forget(database, "ann").total()


def test_a_customer_of_several_models_is_deleted_from_each(engine: sa.Engine) -> None:
    """The tombstone is shared, too."""
    fill_for(engine, CHURN_SCHEMA, a_record().features)
    fill_for(engine, OTHER_SCHEMA, (0.5, "a", 1))
    assert forget(engine, "ann") == {kind: 2 * count for kind, count in OF_ONE.items()}


def test_what_was_on_its_way_is_not_stored(database: sa.Engine, tables: Tables) -> None:
    """Nor is its label. Predictions of other customers, and from a snapshot that was loaded later, are stored."""
    log = PredictionLog(database, tables)
    forget(database, "ann")
    log.write_labels([PredictionLabel(prediction_id, 1) for prediction_id in IDS[:2]], NOON)
    later = datetime.now(UTC) + DAY
    changes: list[dict[str, Any]] = [
        {"user_id": "ann"},
        {"user_id": "ann", "predicted_at": later},  # looked up before, answered afterwards
        {"user_id": "ann", "predicted_at": later, "as_of": later.date()},
        {"user_id": "bob"},
        {"user_id": None, "as_of": None},
    ]
    log.write_batch([a_record(number, **each) for number, each in enumerate(changes)])
    assert (left(database, tables)["predictions"], left(database, tables)["labels"]) == (set(IDS[2:5]), set())


@pytest.mark.parametrize("newest", [MONTH, datetime.now(UTC).date() + 400 * DAY])
def test_an_extract_from_before_does_not_bring_a_customer_back(engine: sa.Engine, newest: date) -> None:
    """Loading it again leaves the customer out, also if its date is in the future; a newer extract does not."""
    fill_for(engine, OTHER_SCHEMA, (0.5, "a", 1))
    snapshots = Snapshots(engine, tables_for(OTHER_SCHEMA))
    columns: dict[str, list[Value]] = {"score": [0.5, 0.6], "subject": ["a", "b"], "rows": [1, 2]}
    snapshots.ingest(newest, ["ann", "bob"], columns, [0, 1])
    for _ in range(2):  # a repeated call, which finds no snapshot, does not allow what the first one prevents
        forget(engine, "ann")
    assert snapshots.ingest(newest, ["ann", "bob"], columns, [0, 1]) == 1
    assert (snapshots.read(newest).user_ids, snapshots.read(newest).columns["rows"]) == (["bob"], [2])
    assert snapshots.labels(newest) == {"bob": 1}
    assert snapshots.ingest(newest + 900 * DAY, ["ann", "bob"], columns, None) == 2


@pytest.mark.parametrize("is_pruned", [False, True])
def test_no_byte_of_a_customer_stays_in_a_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pruned: bool
) -> None:
    """Neither in free pages nor in the write-ahead log, whatever build of SQLite, nor if `prune` deleted it before."""

    def careless(*args: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 (passed on)
        connection: sqlite3.Connection = sqlite3.connect(*args, **options)
        connection.execute("PRAGMA secure_delete=OFF")  # the default, but not that of Debian
        return connection

    monkeypatch.setattr(sqlite3.dbapi2, "connect", careless)
    engine, _, log = a_database(tmp_path)
    fill_for(engine, CHURN_SCHEMA, a_record().features)
    log.write_batch([a_record(9, user_id="a-very-rare-id")])
    if is_pruned:
        prune(engine, NOON + 900 * DAY)
    forget(engine, "a-very-rare-id")
    assert empty_write_ahead_log(engine)
    found = {path.name: path.read_bytes().count(b"a-very-rare-id") for path in tmp_path.glob("*.db*")}
    assert found
    assert set(found.values()) == {0}
    engine.dispose()


def test_a_batch_that_is_being_stored_is_waited_for(
    database: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what it stores is deleted too, though its customer had no tombstone when it began."""
    at_insert, may_insert = Event(), Event()

    def held(*args: Any, **options: Any) -> int:  # noqa: ANN401 (passed on)
        at_insert.set()
        assert may_insert.wait(10)
        return insert_rows(*args, **options)

    monkeypatch.setattr(predictions, "insert_rows", held)
    with ThreadPoolExecutor() as pool:
        storing = pool.submit(PredictionLog(database, tables).write_batch, [a_record(0, user_id="ann")])
        assert at_insert.wait(10)
        forgetting = pool.submit(forget, database, "ann")
        done, _ = wait([forgetting], timeout=0.3)
        may_insert.set()
        storing.result()
        assert (done, forgetting.result()["predictions"]) == (set(), 1)


def test_predictions_are_stored_while_forget_waits_for_an_ingest(postgresql: str) -> None:
    """It gives way to others every second, instead of holding up the drainer until the ingest has ended."""
    with empty_tables(postgresql) as database, ThreadPoolExecutor() as pool:
        with database.begin() as ingesting:
            lock_storing(ingesting)
            forgetting = pool.submit(forget, database, "ann")
            wait([forgetting], timeout=0.3)
            PredictionLog(database, tables_for(CHURN_SCHEMA)).write_batch([a_record(0, user_id="ann"), a_record(1)])
            assert not forgetting.done()
        assert forgetting.result()["predictions"] == 1


def test_an_empty_database_remembers_the_customer() -> None:
    """What arrives once the service has created its tables is dropped."""
    engine, tables = sa.create_engine("sqlite://"), tables_for(CHURN_SCHEMA)
    assert not forget(engine, "ann").total()
    create_tables(engine, tables)
    PredictionLog(engine, tables).write_batch([a_record(0, user_id="ann"), a_record(1)])
    assert left(engine, tables)["predictions"] == {IDS[1]}
    engine.dispose()
