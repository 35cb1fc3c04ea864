"""Records, a probe that keeps its events, and a process that appends until it is killed.

`python -m tests.leeway.store.records SPOOL FIRST [COUNT]` appends COUNT records (or never ends) and prints the id of
each record once the spool has it.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema, Value
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.tables import Tables, tables_for
from service.spool.drainer import DrainerProbe
from service.spool.spool import Spool, SpoolError

ROOT = Path(__file__).parents[3]
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


def open_spool(
    path: Path, *, schema: FeatureSchema = CHURN_SCHEMA, limit_bytes: int = 2**26, fsync_always: bool = False
) -> Spool:
    """Open a spool as the service does, large enough for some hundred thousand records."""
    return Spool.open(path, schema, limit_bytes=limit_bytes, fsync_always=fsync_always)


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


def fill(spool: Spool) -> int:
    """Append until the spool is full; return the number of records in it."""
    for number in range(100_000):
        try:
            spool.append([a_record(number)])
        except SpoolError:
            return number
    raise AssertionError("the spool never filled up")


class RememberingProbe(DrainerProbe):
    """Keeps each event's name and its first argument."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def names(self) -> list[str]:
        """The names of the events, in order."""
        return [name for name, _ in self.events]

    def total(self, name: str) -> int:
        """The sum over all events called `name`."""
        return sum(value for event, value in self.events if event == name)

    def written(self, count: int) -> None:
        """Keep the event."""
        self.events.append(("written", count))

    def outage_began(self, error: Exception) -> None:
        """Keep the event."""
        self.events.append(("outage_began", error))

    def outage_ended(self) -> None:
        """Keep the event."""
        self.events.append(("outage_ended", None))

    def dead_lettered(self, count: int, reason: str) -> None:  # noqa: ARG002 (the base class's signature)
        """Keep the event."""
        self.events.append(("dead_lettered", count))

    def failed(self, error: Exception) -> None:
        """Keep the event."""
        self.events.append(("failed", error))


def start_appending(spool: Path, *, first: int = 0, count: int | None = None) -> subprocess.Popen[str]:
    """Start a process that appends; its standard output gives each id once the spool has it."""
    command = [sys.executable, "-m", "tests.leeway.store.records", str(spool), str(first), str(count or "")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _append(spool: Path, first: int, count: int | None) -> None:
    with open_spool(spool) as opened:
        for number in itertools.count(first) if count is None else range(first, first + count):
            record = a_record(number)
            opened.append([record])
            print(record.prediction_id, flush=True)  # noqa: T201 (this is what the process is for)


if __name__ == "__main__":
    _append(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3] else None)
