from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLog, PredictionLogError, RecordRejected
from leeway.store.tables import Tables, tables_for
from service.spool.writer import database_writer
from tests.leeway.store.records import IDS, a_record, some_records, stored_ids


def test_a_prediction_is_read_as_it_was_written(database: tuple[sa.Engine, Tables, PredictionLog]) -> None:
    """Every column of the table holds what the record held."""
    engine, tables, log = database
    record = a_record(3)
    log.write_batch([record])
    with engine.connect() as connection:
        row: dict[str, Any] = dict(connection.execute(sa.select(tables.predictions)).one()._mapping)
    assert tuple(row.pop(name) for name in CHURN_SCHEMA.names) == record.features
    assert row == {name: getattr(record, name) for name in row}


def test_writing_twice_stores_once(engine: sa.Engine, log: PredictionLog) -> None:
    """A batch that overlaps what is there adds only what is new."""
    log.write_batch(some_records(3))
    log.write_batch(some_records(5))
    assert stored_ids(engine) == IDS[:5]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None},
        {"features": CHURN_SCHEMA.row({"months_active": 2**64})},
        {"features": CHURN_SCHEMA.row({"paperless_billing": "perhaps"})},
        {"features": tuple({"not": "text"} if name == "net_service" else None for name in CHURN_SCHEMA.names)},
        {"features": CHURN_SCHEMA.row({})[1:]},
        {"predicted_at": datetime(2026, 3, 1)},  # noqa: DTZ001 (naive on purpose)
        {"user_id": "\ud800"},
    ],
    ids=["missing", "too large", "no flag", "no text", "too few", "naive time", "no UTF-8"],
)
def test_a_record_that_can_never_be_stored_is_refused(
    engine: sa.Engine, log: PredictionLog, changes: dict[str, Any]
) -> None:
    """That is told apart from a database that is away, and nothing of the batch is stored."""
    with pytest.raises(RecordRejected):
        log.write_batch([a_record(0), a_record(1, **changes)])
    assert stored_ids(engine) == []


def test_a_database_without_our_tables_is_not_the_record_s_fault(tmp_path: Path) -> None:
    """What may work later is no refusal: the record must stay in the spool."""
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(PredictionLogError, match="no such table") as raised:
        PredictionLog(engine, tables_for(CHURN_SCHEMA)).write_batch([a_record()])
    assert not isinstance(raised.value, RecordRejected)
    engine.dispose()


def test_a_check_is_told_from_a_prediction_that_was_wanted(log: PredictionLog) -> None:
    """And from one that is not there."""
    log.write_batch([a_record(0), a_record(1, is_synthetic=True)])
    assert [log.mark(prediction_id) for prediction_id in IDS[:3]] == [False, True, None]


def test_ping_tells_whether_the_database_answers(tmp_path: Path, log: PredictionLog) -> None:
    """It is silent where it does, and raises where it does not."""
    log.ping()
    away = PredictionLog(sa.create_engine(f"sqlite:///{tmp_path / 'gone' / 'x.db'}"), tables_for(CHURN_SCHEMA))
    with pytest.raises(PredictionLogError, match="unable to open"):
        away.ping()


def test_the_sink_makes_the_tables_it_needs(tmp_path: Path) -> None:
    """A database that is new, or came back empty, gains the tables of the records' schema."""
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    sink = database_writer(engine)
    sink(CHURN_SCHEMA, [a_record(0)])
    with engine.begin() as connection:
        tables_for(CHURN_SCHEMA).metadata.drop_all(connection)
    with pytest.raises(PredictionLogError):
        sink(CHURN_SCHEMA, [a_record(1)])
    sink(CHURN_SCHEMA, [a_record(1)])
    assert stored_ids(engine) == [IDS[1]]
    engine.dispose()
