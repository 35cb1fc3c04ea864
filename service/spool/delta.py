"""Writes the spool into Delta tables instead of the database: few large commits, each of them exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leeway.schema import FeatureSchema
from leeway.store.delta import DeltaLog
from leeway.store.engine import Engine, create_tables, translated
from leeway.store.predictions import PredictionLogError
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.drainer import DrainerProbe, SpoolDrainer
from service.spool.reader import Origin, SpoolReader

INTERVAL_S = 5.0
"""Each commit makes a file for each day in it, and readers open all files."""
BATCH_ROWS = 50_000
READ_BYTES = 2**24


class DeltaWriter:
    """Writes records to the Delta table of their schema, which must exist, and moves labels there."""

    def __init__(self, location: str, engine: Engine, reader: SpoolReader) -> None:
        self._location = location
        self._engine = engine
        self._reader = reader
        self._logs: dict[str, DeltaLog] = {}

    def write(self, schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin) -> None:
        """Store `records` of one schema; see `WriteRecords`."""
        self._log(schema).write_batch(records, origin.segment, origin.ends)

    def move_labels(self) -> None:
        """Move the labels that wait in the database for the schemas of the spool.

        Raises:
            PredictionLogError: a table or the database is unreachable.
        """
        for fingerprint in self._reader.fingerprints():
            self._log(self._reader.schema(fingerprint)).move_labels()

    def _log(self, schema: FeatureSchema) -> DeltaLog:
        if schema.fingerprint not in self._logs:
            tables = tables_for(schema)
            with translated(into=PredictionLogError):
                create_tables(self._engine, tables)
            self._logs[schema.fingerprint] = DeltaLog(self._location, self._engine, tables)
        return self._logs[schema.fingerprint]


def delta_drainer(spool: Path, location: str, engine: Engine, probe: DrainerProbe) -> SpoolDrainer:
    """A drainer of the spool into the Delta tables at `location`."""
    reader = SpoolReader(spool, READ_BYTES)
    writer = DeltaWriter(location, engine, reader)
    return SpoolDrainer(
        reader, writer.write, probe, interval_s=INTERVAL_S, batch_rows=BATCH_ROWS, then=writer.move_labels
    )
