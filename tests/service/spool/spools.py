"""Spools to test with: opened as the service does, filled, drained, and appended to by another process.

`python -m tests.service.spool.spools SPOOL FIRST [COUNT]` appends COUNT records (or never ends) and prints the id of
each record once the spool has it.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store.predictions import RecordRejected
from leeway.store.record import PredictionRecord
from service.spool.drainer import DrainerProbe, SpoolDrainer, WriteRecords
from service.spool.reader import Batch, Origin, SpoolReader
from service.spool.segments import dead_letters_path, record_of, segments_in
from service.spool.spool import Spool, SpoolError
from service.spool.status import DrainerStatus, Position, read_status
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


def taken(reader: SpoolReader, limit: int = 10_000) -> Batch:
    """The next batch, which must exist."""
    batch = reader.take(limit)
    assert batch is not None
    return batch


def waiting(path: Path) -> list[PredictionRecord]:
    """All records that are not stored yet, read without telling the spool."""
    positions = (read_status(path) or DrainerStatus()).positions
    found = []
    for segment in segments_in(path):
        start = positions.get(segment.name, Position()).offset
        found += [record_of(line) for line in segment.path.read_bytes()[start:].split(b"\n") if line]
    return [record for record in found if record is not None]


def dead_letters(path: Path) -> list[dict[str, Any]]:
    """The spool's dead letters, without their times."""
    letters = dead_letters_path(path)
    lines = letters.read_text().splitlines() if letters.exists() else []
    return [{key: value for key, value in json.loads(line).items() if key != "failed_at"} for line in lines]


def drain_all(path: Path) -> list[PredictionRecord]:
    """Take and acknowledge everything; return the records."""
    reader, found = SpoolReader(path), []
    while batch := reader.take(10_000):
        found += batch.records
        reader.ack(batch)
    return found


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

    def torn(self, count: int) -> None:
        """Keep the event."""
        self.events.append(("torn", count))

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

    def write(self, schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin) -> None:  # noqa: ARG002
        """Store all records, or raise; see `WriteRecords`."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        if any(self.rejects(record) for record in records):
            raise RecordRejected("out of range")
        self.stored += records


def drain(spool: Spool, write: WriteRecords, *, batch_rows: int = 2_000) -> RecordedEvents:
    """Run a drainer until the spool is empty or the database unreachable; return the events."""
    probe = RecordedEvents()
    drainer = SpoolDrainer(SpoolReader(spool.path), write, probe, interval_s=0.01, batch_rows=batch_rows)
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
