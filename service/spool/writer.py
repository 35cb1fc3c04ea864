"""Where the mover puts records: the tables of whatever schema a record has, made where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leeway.schema import FeatureSchema
from leeway.store.engine import Engine, create_tables, translated
from leeway.store.predictions import PredictionLog, PredictionLogError, RecordRejected
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for


def database_writer(engine: Engine) -> Callable[[FeatureSchema, Sequence[PredictionRecord]], None]:
    """What the mover writes with: it finds the tables of each schema, and makes them where they are missing."""
    logs: dict[str, PredictionLog] = {}

    def write(schema: FeatureSchema, records: Sequence[PredictionRecord]) -> None:
        try:
            if schema.fingerprint not in logs:
                tables = tables_for(schema)
                with translated(into=PredictionLogError):
                    create_tables(engine, tables)
                logs[schema.fingerprint] = PredictionLog(engine, tables)
            logs[schema.fingerprint].write_batch(records)
        except RecordRejected:
            raise
        except PredictionLogError:
            logs.pop(schema.fingerprint, None)  # the database may come back without its tables
            raise

    return write
