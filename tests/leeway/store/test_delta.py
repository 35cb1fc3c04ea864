from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store import delta
from leeway.store import engine as engine_module
from leeway.store.delta import DeltaLog, create_delta_tables
from leeway.store.engine import open_engine
from leeway.store.erasures import Tombstone, add_tombstone, lock_storing
from leeway.store.predictions import PredictionLabel, PredictionLog, PredictionLogError, RecordRejected
from leeway.store.tables import Tables, tables_for
from tests.leeway.store.databases import empty_tables
from tests.leeway.store.delta import delta_rows
from tests.leeway.store.records import IDS, NOON, OTHER_SCHEMA, a_database, a_record, some_records

pytest.importorskip("deltalake")
SEGMENT = "1-2-abc.segment"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[sa.Engine, Tables, PredictionLog]]:
    """A database with the tables of the churn schema."""
    found = a_database(tmp_path)
    yield found
    found[0].dispose()


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Where the Delta tables are."""
    return str(tmp_path / "lake")


@pytest.fixture
def log(database: tuple[sa.Engine, Tables, PredictionLog], lake: str) -> DeltaLog:
    """A log whose Delta tables exist."""
    engine, tables, _ = database
    create_delta_tables(lake, engine, tables.schema)
    return DeltaLog(lake, engine, tables)


def test_it_stores_what_the_database_would_store(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str
) -> None:
    """A row has the columns, names and values of the database's row, and its day."""
    engine, tables, in_database = database
    record = a_record(3, user_id=None, as_of=None, trace_id=None)
    in_database.write_batch([record])
    log.write_batch([record], SEGMENT, [10])
    with engine.connect() as connection:
        row = dict(connection.execute(sa.select(tables.predictions)).one()._mapping)
    assert delta_rows(lake) == [row | {"predicted_on": date(2026, 3, 1)}]


def test_a_schema_with_our_names_has_tables_of_its_own(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str
) -> None:
    """A feature called `score` has a column of its own, as in the database."""
    engine, _, _ = database
    create_delta_tables(lake, engine, OTHER_SCHEMA)
    other = DeltaLog(lake, engine, tables_for(OTHER_SCHEMA))
    other.write_batch([a_record(0, features=(1.5, "x", 2))], SEGMENT, [10])
    log.write_batch([a_record(1)], SEGMENT, [10])
    (row,) = delta_rows(lake, f"predictions_{OTHER_SCHEMA.fingerprint}")
    assert [row["score"], row["score_2"], row["subject"], row["rows"]] == [0.25, 1.5, "x", 2]
    assert [each["prediction_id"] for each in delta_rows(lake)] == [IDS[1]]


@pytest.mark.parametrize("repeated", [3, 2, 5])
def test_a_repeated_batch_is_stored_once(log: DeltaLog, lake: str, repeated: int) -> None:
    """However many records the repeat has: the segment's position is in the commit."""
    ends = [10, 20, 30, 40, 50]
    log.write_batch(some_records(3), SEGMENT, ends[:3])
    log.write_batch(some_records(repeated), SEGMENT, ends[:repeated])
    rows = delta_rows(lake)
    assert [each["prediction_id"] for each in rows] == IDS[: max(3, repeated)]
    assert [each["predicted_at"] for each in rows] == [each.predicted_at for each in some_records(len(rows))]


def test_segments_do_not_know_each_others_positions(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str
) -> None:
    """Two replicas write from segments of their own, each with its own positions."""
    engine, tables, _ = database
    replica = DeltaLog(lake, engine, tables)
    for number in range(4):
        writer, segment = (log, "a.segment") if number % 2 else (replica, "b.segment")
        writer.write_batch([a_record(number)], segment, [10 * number + 10])
    assert sorted(each["prediction_id"] for each in delta_rows(lake)) == IDS[:4]


@pytest.mark.parametrize(
    "changes",
    [
        {"unusual_features": 2**40},
        {"score": "high"},
        {"prediction_id": None},
        {"predicted_at": NOON.replace(tzinfo=None)},
        {"user_id": "\ud800"},
        {"prediction": 2.5},
    ],
)
def test_what_has_no_place_in_a_column_is_rejected(log: DeltaLog, lake: str, changes: dict[str, Any]) -> None:
    """Nothing of the batch is stored, and the others can be stored after it."""
    with pytest.raises(RecordRejected):
        log.write_batch([a_record(0), a_record(1, **changes)], SEGMENT, [10, 20])
    log.write_batch([a_record(0)], SEGMENT, [10])
    assert [each["prediction_id"] for each in delta_rows(lake)] == IDS[:1]


def test_a_record_stays_rejected_after_later_ones_are_stored(log: DeltaLog, lake: str) -> None:
    """The position is beyond it, but the table does not have it."""
    log.write_batch([a_record(1)], SEGMENT, [20])
    bad = a_record(0, unusual_features=2**40)
    for repeated in ([bad], [bad, a_record(1)]):
        with pytest.raises(RecordRejected):
            log.write_batch(repeated, SEGMENT, [10, 20][: len(repeated)])
    log.write_batch([a_record(1), a_record(2)], SEGMENT, [20, 30])
    assert [each["prediction_id"] for each in delta_rows(lake)] == IDS[1:3]


def test_a_record_from_before_its_customers_erasure_is_dropped(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str
) -> None:
    """As in the database, with the label that waits there."""
    engine, tables, in_database = database
    add_tombstone(engine, tables.erasures, "customer-1", Tombstone(NOON + timedelta(hours=1), NOON.date()))
    in_database.write_labels([PredictionLabel(each, 1) for each in IDS[:2]], NOON)
    log.write_batch(some_records(2), SEGMENT, [10, 20])
    assert log.move_labels() == 1
    assert [each["prediction_id"] for each in delta_rows(lake)] == IDS[:1]
    assert [each["prediction_id"] for each in delta_rows(lake, "prediction_labels")] == IDS[:1]


def test_labels_are_moved_and_replaced_ones_follow(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str
) -> None:
    """The database keeps none that was moved; a later label of the same prediction is appended."""
    _, _, in_database = database
    for number, label in enumerate((0, 1)):
        in_database.write_labels([PredictionLabel(IDS[0], label)], NOON + timedelta(minutes=number))
        assert (log.move_labels(), log.move_labels()) == (1, 0)
    assert [(each["label"], each["labelled_at"]) for each in delta_rows(lake, "prediction_labels")] == [
        (0, NOON),
        (1, NOON + timedelta(minutes=1)),
    ]


def test_labels_are_not_moved_while_others_hold_the_lock(
    database: tuple[sa.Engine, Tables, PredictionLog], log: DeltaLog, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure, for one: what it deletes from the database has not been copied to the Delta table."""
    engine, tables, in_database = database
    in_database.write_labels([PredictionLabel(IDS[0], 1)], NOON)
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_S", 0)
    impatient = open_engine(str(engine.url))
    with engine.begin() as connection:
        lock_storing(connection)
        with pytest.raises(PredictionLogError):
            DeltaLog(lake, impatient, tables).move_labels()
    impatient.dispose()
    assert delta_rows(lake, "prediction_labels") == []
    assert log.move_labels() == 1


def test_on_postgresql_an_erasure_waits_for_labels_that_are_being_moved(
    postgresql: str, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds them in the Delta table afterwards. Others only share the lock, so the rows themselves are locked."""
    tables, append, refused = tables_for(CHURN_SCHEMA), delta._append, list[bool]()
    with empty_tables(postgresql) as engine:
        create_delta_tables(lake, engine, CHURN_SCHEMA)
        PredictionLog(engine, tables).write_labels([PredictionLabel(IDS[0], 1)], NOON)

        def delete_meanwhile(table: Any, rows: Any) -> None:  # noqa: ANN401 (arro3 has no stable types)
            with engine.connect() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '10ms'")
                with pytest.raises(sa.exc.OperationalError):
                    connection.execute(sa.delete(tables.prediction_labels))
            refused.append(True)
            append(table, rows)

        monkeypatch.setattr(delta, "_append", delete_meanwhile)
        assert (DeltaLog(lake, engine, tables).move_labels(), refused) == (1, [True])


@pytest.mark.parametrize("schema", [CHURN_SCHEMA, OTHER_SCHEMA])
def test_tables_are_created_once(
    database: tuple[sa.Engine, Tables, PredictionLog], lake: str, schema: FeatureSchema
) -> None:
    """What exists is kept."""
    assert [create_delta_tables(lake, database[0], schema) for _ in range(2)] == [True, False]


def test_a_missing_table_is_an_outage_that_says_what_to_do(
    database: tuple[sa.Engine, Tables, PredictionLog], lake: str
) -> None:
    """The writer creates no table, because two of them might do so at once."""
    engine, tables, _ = database
    log = DeltaLog(lake, engine, tables)
    with pytest.raises(PredictionLogError, match=r"no Delta table at .*/lake/predictions: run `leeway log create`"):
        log.write_batch([a_record()], SEGMENT, [10])
    create_delta_tables(lake, engine, tables.schema)
    log.write_batch([a_record()], SEGMENT, [10])
    assert len(delta_rows(lake)) == 1


def test_without_the_extra_the_error_says_what_to_install(
    database: tuple[sa.Engine, Tables, PredictionLog], lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deltalake is imported only when a table is used."""
    monkeypatch.setitem(__import__("sys").modules, "deltalake.exceptions", None)
    with pytest.raises(PredictionLogError, match=r"install leeway\[delta\]"):
        create_delta_tables(lake, database[0], CHURN_SCHEMA)
