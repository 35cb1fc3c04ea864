"""Reads the spool: the oldest records as batches, which are deleted once the database has stored them.

One process at a time does this: the one that holds the lease.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord
from service.spool.segments import (
    DEAD_LETTERS_LOCK,
    FileLock,
    SegmentFile,
    SpoolError,
    complete_bytes,
    dead_letters_path,
    exclusive,
    is_erased,
    record_of,
    schema_path,
    segments_in,
    spool_errors,
    try_lock,
)
from service.spool.status import DrainerStatus, Position, read_status, write_status

READ_BYTES = 2**20
RESERVE_BYTES = 2**18


class UnknownSchema(SpoolError):
    """The spool does not hold the schema of these records."""


class Origin(NamedTuple):
    """Where records come from: the name of a segment, and the offset in it after each of them."""

    segment: str
    ends: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """Records of one segment, in order. `damaged` are lines without a valid record, `torn` the rest of a torn write.

    `ends` are the offsets in the segment after each record. A torn write was never acknowledged, so it holds no
    answered prediction. `has_more` is True if more records wait: the rest of a
    long segment, or those of a segment whose turn has not come yet.
    """

    segment: SegmentFile
    records: list[PredictionRecord]
    ends: list[int]
    damaged: list[bytes]
    torn: bytes
    end: Position
    has_more: bool

    @property
    def origin(self) -> Origin:
        """Where its records come from."""
        return Origin(self.segment.name, self.ends)


@dataclass(frozen=True)
class DeadLetter:
    """A record, or what is left of one, that can never be stored."""

    reason: str
    fingerprint: str
    text: str


class SpoolReader:
    """Takes batches from the spool in a folder; `lease` makes sure that no other process does.

    It reads about `read_bytes` at a time.
    """

    def __init__(self, path: Path, read_bytes: int = READ_BYTES) -> None:
        self.path = path
        self._read_bytes = read_bytes
        self._last_taken = ""
        self._unfinished: set[str] = set()
        self._reserve = DiskReserve(path / "drainer.reserve", RESERVE_BYTES)
        self._status = _known_status(path)
        self._schemas: dict[str, FeatureSchema] = {}
        self._lease: FileLock | None = None

    # --- the lease --------------------------------------------------------------------------------------------------

    def lease(self) -> bool:
        """Whether this process may drain. It holds this right from the first success until `release` or its death."""
        if self._lease is not None:
            return True
        with spool_errors(self.path):
            lock = FileLock(self.path / "drainer.lock")
            if not lock.acquire():
                lock.release()
                return False
            self._lease = lock
            self._status = _known_status(self.path)
            with exclusive(self.path / "spool.lock"):  # no process is creating a segment now
                for unfinished in self.path.glob("*.new"):
                    unfinished.unlink(missing_ok=True)
            return True

    @property
    def holds_lease(self) -> bool:
        """Whether this object has the lease."""
        return self._lease is not None

    def release(self) -> None:
        """Release the lease."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def beat(self, *, is_outage: bool = False) -> None:
        """Update the status, to show that the drainer is alive, and keep the disk reserve; called in every cycle."""
        self._reserve.keep()
        with spool_errors(self.path):
            self._publish(msgspec.structs.replace(self._status, is_outage=is_outage))

    # --- taking -----------------------------------------------------------------------------------------------------

    def take(self, limit: int) -> Batch | None:
        """The oldest records of a segment, at most `limit`; they stay until `ack`. None if the spool is empty.

        Segments take turns, the oldest first, so that no process that appends much keeps others' records waiting.
        Deletes segments that are stored completely and that no process appends to.
        """
        with spool_errors(self.path):
            segments = segments_in(self.path)
            later = [segment for segment in segments if segment.name > self._last_taken]
            for segment in (*later, *segments[: len(segments) - len(later)]):
                batch = self._next(segment, limit)
                if batch is not None:
                    self._last_taken = segment.name
                    self._unfinished = (self._unfinished - {segment.name}) | (
                        {segment.name} if batch.has_more else set()
                    )
                    return replace(batch, has_more=any(self._waits(each, segment) for each in segments))
        return None

    def _waits(self, other: SegmentFile, taken: SegmentFile) -> bool:
        """Whether records wait in a segment: more than one batch of them, or the first ones since its last turn."""
        if other.name in self._unfinished:
            return True
        return other.name > taken.name and other.size_bytes > self._status.positions.get(other.name, Position()).offset

    def _next(self, segment: SegmentFile, limit: int) -> Batch | None:
        start = self._status.positions.get(segment.name, Position())
        with segment.path.open("rb") as file:
            is_finished = try_lock(file.fileno())  # before reading: nothing can follow what is read
            file.seek(start.offset)
            data = file.read(self._read_bytes)
            whole = complete_bytes(data)
            if not whole:
                data += file.read()
                whole = complete_bytes(data)
            has_more = bool(file.read(1))
        if whole:
            return _parse(segment, start, data[:whole], limit, has_more=has_more)
        if is_finished and data.strip(b"\n"):
            return Batch(segment, [], [], [], data, Position(start.offset + len(data), start.records), has_more)
        if is_finished:
            self._delete(segment)
        return None

    def is_empty(self) -> bool:
        """Whether everything is stored."""
        with spool_errors(self.path):
            positions = (read_status(self.path) or self._status).positions
            return all(
                segment.size_bytes <= positions.get(segment.name, Position()).offset
                for segment in segments_in(self.path)
            )

    def ack(self, batch: Batch, dead_letters: int = 0) -> None:
        """Do not return this batch again: the database has stored it, except for `dead_letters`."""
        positions = self._status.positions | {batch.segment.name: batch.end}
        written = len(batch.records) + len(batch.damaged) - dead_letters
        status = msgspec.structs.replace(
            self._status,
            written=self._status.written + written,
            dead_lettered=self._status.dead_lettered + dead_letters,
            positions=positions,
        )
        with suppress(OSError):  # a restart would store the batch once more; `beat` reports the error
            self._publish(status)

    def _delete(self, segment: SegmentFile) -> None:
        segment.path.unlink(missing_ok=True)
        positions = {name: at for name, at in self._status.positions.items() if name != segment.name}
        self._status = msgspec.structs.replace(self._status, positions=positions)
        self._unfinished.discard(segment.name)

    def _publish(self, status: DrainerStatus) -> None:
        self._status = msgspec.structs.replace(status, updated_at=time.time())
        write_status(self.path, self._status)

    # --- schemas and dead letters -----------------------------------------------------------------------------------

    def fingerprints(self) -> list[str]:
        """The fingerprints of the schemas that the spool holds."""
        return sorted(each.stem for each in schema_path(self.path, "").parent.glob("*.json"))

    def schema(self, fingerprint: str) -> FeatureSchema:
        """The schema that records were written with; the current bundle may have another.

        Raises:
            UnknownSchema: the spool does not hold it.
        """
        if fingerprint not in self._schemas:
            try:
                document = schema_path(self.path, fingerprint).read_bytes()
                schema = msgspec.json.decode(document, type=FeatureSchema)
            except (OSError, ValueError) as error:
                raise UnknownSchema(f"unknown schema {fingerprint}: {error}") from error
            if schema.fingerprint != fingerprint:
                raise UnknownSchema(f"unknown schema {fingerprint}: its file holds {schema.fingerprint}")
            self._schemas[fingerprint] = schema
        return self._schemas[fingerprint]

    def keep_dead_letters(self, letters: Iterable[DeadLetter]) -> None:
        """Append to the file of dead letters, one JSON object a line; on a full disk with the space of the reserve."""
        failed_at = datetime.now(UTC).isoformat()
        lines = b"".join(
            msgspec.json.encode(
                {"failed_at": failed_at, "reason": each.reason, "schema": each.fingerprint, "record": each.text}
            )
            + b"\n"
            for each in letters
        )
        with spool_errors(self.path):
            try:
                self._append_dead_letters(lines)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._reserve.give_up()
                self._append_dead_letters(lines)

    def _append_dead_letters(self, lines: bytes) -> None:
        with (
            exclusive(self.path / DEAD_LETTERS_LOCK),
            dead_letters_path(self.path).open("ab", buffering=0) as file,
        ):
            before = file.tell()
            if file.write(lines) != len(lines):  # the disk became full
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _known_status(path: Path) -> DrainerStatus:
    """The status in the file, without segments that were deleted since."""
    status = read_status(path) or DrainerStatus()
    existing = {segment.name for segment in segments_in(path)} if path.is_dir() else set()
    positions = {name: at for name, at in status.positions.items() if name in existing}
    return msgspec.structs.replace(status, positions=positions)


def _parse(segment: SegmentFile, start: Position, data: bytes, limit: int, *, has_more: bool) -> Batch:
    """Decode up to `limit` lines of `data`, which holds whole lines."""
    records: list[PredictionRecord] = []
    ends: list[int] = []
    damaged: list[bytes] = []
    offset, lines = start.offset, 0
    for line in data.split(b"\n"):
        if line and lines == limit:
            has_more = True
            break
        offset += len(line) + 1
        if not line:
            continue
        lines += 1
        record = record_of(line)
        if record is not None:
            records.append(record)
            ends.append(offset)
        elif not is_erased(line):
            damaged.append(line)
    end = Position(min(offset, start.offset + len(data)), start.records + lines)
    return Batch(segment, records, ends, damaged, b"", end, has_more)


class DiskReserve:
    """A file of zeros that reserves disk space, so that a drainer on a full disk can still write dead letters.

    Without them it could not delete the segment that holds the record, and the disk would stay full.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._is_kept = False

    def keep(self) -> None:
        """Write the file, unless it exists or the disk has too little space."""
        if self._is_kept:
            return
        try:
            if not self._path.exists() or self._path.stat().st_size != self._size_bytes:
                if shutil.disk_usage(self._path.parent).free < 2 * self._size_bytes:
                    return  # the spool itself needs this space; the next call tries again
                self._path.write_bytes(bytes(self._size_bytes))
            self._is_kept = True
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Delete the file, which frees the space."""
        self._is_kept = False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
