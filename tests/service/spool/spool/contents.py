"""What goes into a spool, and what it holds: as a mover would take it, and as the file itself says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from leeway.store.record import PredictionRecord
from service.spool.spool import Batch, Spool


def waiting(spool: Spool, limit: int = 10_000) -> list[PredictionRecord]:
    """The records that a mover would take."""
    batch = spool.take(limit)
    return [record for _, record in batch.entries] if batch else []


def taken(spool: Spool, limit: int = 10_000) -> Batch:
    """A batch, where one must be."""
    batch = spool.take(limit)
    assert batch is not None
    return batch


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Ask the file itself."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def append_singly(spool: Spool, records: list[PredictionRecord]) -> None:
    """Append one at a time, as requests do."""
    for record in records:
        spool.append([record])
