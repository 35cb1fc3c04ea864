"""Records of predictions, and a database for them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema, Value
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.tables import Tables, tables_for

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MONTH = date(2026, 2, 28)
OTHER_SCHEMA = FeatureSchema((Feature("score", "number"), Feature("subject", "category"), Feature("rows", "integer")))
"""A second model's schema, whose features have the names of our columns."""

_FEATURES: dict[str, Value] = {
    "months_active": 12,
    "monthly_fee": 19.5,
    "paperless_billing": True,
    "plan_stream_tv": None,
    "plan_stream_movies": False,
    "net_service": "fibre optic",
    "watch_hours_30d": 40.25,
    "avg_session_mins_7d": 33.0,
    "unique_devices_30d": 3,
    "skips_7d": 4,
    "rebuffer_events_7d": 0,
    "failed_payments_90d": 0,
    "support_tickets_90d": 1,
    "ticket_avg_resolution_hrs_90d": 7.5,
}


def a_record(number: int = 0, **changes: Any) -> PredictionRecord:  # noqa: ANN401 (each field has its own type)
    """One record; `number` determines its id, its customer and its time (a second later each)."""
    fields: dict[str, Any] = {
        "prediction_id": f"0195{number:04x}-0000-7000-8000-{number * 0x9E3779B97F4B % 16**12:012x}",
        "predicted_at": NOON + timedelta(seconds=number),
        "model_version": "v1",
        "user_id": f"customer-{number}",
        "as_of": MONTH,
        "features": CHURN_SCHEMA.row(_FEATURES),
        "score": 0.25,
        "prediction": 0,
        "unusual_features": 1,
        "lookup_duration_s": 0.001,
        "inference_duration_s": 0.0002,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }
    return PredictionRecord(**(fields | changes))


def some_records(count: int, start: int = 0) -> list[PredictionRecord]:
    """`count` records, each of another customer."""
    return [a_record(number) for number in range(start, start + count)]


IDS = [record.prediction_id for record in some_records(10)]
"""The ids of the first ten records."""


def a_database(folder: Path, schema: FeatureSchema = CHURN_SCHEMA) -> tuple[sa.Engine, Tables, PredictionLog]:
    """An engine on a new SQLite file with its tables, and the log on them."""
    engine, tables = open_engine(f"sqlite:///{folder / 'leeway.db'}"), tables_for(schema)
    create_tables(engine, tables)
    return engine, tables, PredictionLog(engine, tables)


def stored_ids(engine: sa.Engine, schema: FeatureSchema = CHURN_SCHEMA) -> list[str]:
    """The ids of all predictions in the database, in order."""
    column = tables_for(schema).predictions.c.prediction_id
    with engine.connect() as connection:
        return list(connection.execute(sa.select(column).order_by(column)).scalars())
