"""Spools to test with: opened as the service does, filled, drained, and appended to by another process.

`python -m tests.service.spool.spools SPOOL FIRST [COUNT]` appends COUNT records (or never ends) and prints the id of
each record once the spool has it.
"""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store.predictions import RecordRejected
from leeway.store.record import PredictionRecord
from service.spool.drainer import DrainerProbe, SpoolDrainer, WriteRecords
from service.spool.spool import Batch, Spool, SpoolError
from tests.leeway.store.records import a_record

ROOT = Path(__file__).parents[3]
WAIT_S = 20.0


def open_spool(
    path: Path, *, schema: FeatureSchema = CHURN_SCHEMA, limit_bytes: int = 2**26, fsync_always: bool = False
) -> Spool:
    """Open a spool as the service does, with room for some hundred thousand records."""
    return Spool(path, schema, limit_bytes=limit_bytes, fsync_always=fsync_always)


def fill(spool: Spool) -> int:
    """Append until the spool is full; return how many records it took."""
    for number in range(100_000):
        try:
            spool.append([a_record(number)])
        except SpoolError:
            return number
    raise AssertionError("the spool never filled up")


def taken(spool: Spool, limit: int = 10_000) -> Batch:
    """The next batch, which must exist."""
    batch = spool.take(limit)
    assert batch is not None
    return batch


def waiting(spool: Spool) -> list[PredictionRecord]:
    """The records that a drainer would take next."""
    batch = spool.take(100_000)
    return batch.records if batch else []


def execute(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run SQL on the spool's file itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


class RecordedEvents(DrainerProbe):
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


class ListWriter:
    """A database that is a list. It raises `error` if set, and rejects records as `rejects` says."""

    def __init__(self, error: Exception | None = None) -> None:
        self.stored: list[PredictionRecord] = []
        self.calls = 0
        self.error = error
        self.rejects: Callable[[PredictionRecord], bool] = lambda _: False

    def write(self, schema: FeatureSchema, records: Sequence[PredictionRecord]) -> None:  # noqa: ARG002 (WriteRecords)
        """Store all records, or raise."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        if any(self.rejects(record) for record in records):
            raise RecordRejected("out of range")
        self.stored += records


def drain(spool: Spool, write: WriteRecords, *, batch_rows: int = 2_000) -> RecordedEvents:
    """Run a drainer until the spool is empty or the database unreachable; return the events."""
    probe = RecordedEvents()
    drainer = SpoolDrainer(spool, write, probe, interval_s=0.01, batch_rows=batch_rows)
    drainer.start()
    drainer.stop(WAIT_S)
    return probe


def start_appending(spool: Path, *, first: int = 0, count: int | None = None) -> subprocess.Popen[str]:
    """Start a process that appends; its standard output names each record once the spool has it."""
    command = [sys.executable, "-m", "tests.service.spool.spools", str(spool), str(first), str(count or "")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def killed_while_appending(spool: Path, *, first: int = 0, after: int = 200) -> list[str]:
    """Kill such a process once it has named `after` records; return all ids that it named."""
    child = start_appending(spool, first=first)
    assert child.stdout is not None
    ids = [child.stdout.readline().strip() for _ in range(after)]
    child.kill()
    return ids + [line for line in child.communicate()[0].split("\n")[:-1] if line]


def _append(spool: Path, first: int, count: int | None) -> None:
    with open_spool(spool) as opened:
        for number in itertools.count(first) if count is None else range(first, first + count):
            record = a_record(number)
            opened.append([record])
            print(record.prediction_id, flush=True)  # noqa: T201 (the parent reads it)


if __name__ == "__main__":
    _append(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3] else None)
