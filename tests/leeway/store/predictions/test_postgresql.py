from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLabel, PredictionLog, RecordRejected
from leeway.store.tables import tables_for
from tests.leeway.store.records import HOUR, IDS, NOON, a_record, some_records, stored_ids


@pytest.fixture
def postgres() -> Iterator[sa.Engine]:
    """A PostgreSQL server with our tables, empty; they are dropped afterwards."""
    url = os.environ.get("LEEWAY_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LEEWAY_TEST_POSTGRES_URL is not set")
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    tables.metadata.drop_all(engine)
    create_tables(engine, tables)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()


def test_postgresql_does_the_same(postgres: sa.Engine) -> None:
    """Batches by COPY are idempotent, refuse what they must, and windows, limits and labels read the same."""
    log = PredictionLog(postgres, tables_for(CHURN_SCHEMA))
    log.write_batch(some_records(3))
    log.write_batch([*some_records(5), a_record(5, user_id=None), a_record(6, user_id="customer-4")])
    for changes in ({"score": None}, {"features": CHURN_SCHEMA.row({"months_active": 2**64})}, {"user_id": "a\0b"}):
        with pytest.raises(RecordRejected):
            log.write_batch([a_record(7), a_record(8, **changes)])
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[1], 1)], datetime.now(UTC))
    log.write_labels([PredictionLabel(IDS[0], 1)], datetime.now(UTC))
    window = log.window(NOON, NOON + HOUR, 4)
    assert (window.rows, window.subjects, window.taken) == (7, 6, 4)
    assert log.window(NOON, NOON + HOUR).features["plan_stream_tv"] == [None] * 6
    assert log.labelled("v1", 10).labels == [1, 1]
    assert stored_ids(postgres) == IDS[:7]


def test_postgresql_gains_the_mark_too(postgres: sa.Engine) -> None:
    """A table of before there were checks gets its column; from then on checks are left out there as well."""
    tables = tables_for(CHURN_SCHEMA)
    log = PredictionLog(postgres, tables)
    log.write_batch(some_records(2))
    with postgres.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_synthetic")
    create_tables(postgres, tables)
    log.write_batch([a_record(2, is_synthetic=True)])
    assert [log.mark(prediction_id) for prediction_id in IDS[:3]] == [False, False, True]
    assert log.window(NOON, NOON + HOUR).rows == 2
