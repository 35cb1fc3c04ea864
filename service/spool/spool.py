"""The spool: a durable queue of predictions on local disk, between the service's answers and the database.

It is a folder of append-only files, the segments. Each process appends to a segment of its own, one system call a
batch, and never waits for the database or for the drainer, which reads the segments (`service.spool.reader`) and
deletes them. What was appended survives a killed process; with `fsync_always` also a power failure.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Self

import msgspec

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord, encode_all
from service.spool.segments import (
    SEGMENT_SUFFIX,
    SegmentFile,
    SpoolError,
    SpoolFull,
    dead_letters_path,
    exclusive,
    flush,
    flush_folder,
    has_writer,
    lines_in,
    record_of,
    schema_path,
    segments_in,
    spool_error,
    spool_errors,
    to_lines,
    try_lock,
)
from service.spool.status import DrainerStatus, Position, read_status

__all__ = ["Spool", "SpoolError", "SpoolFull"]
MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES = 2**23, 2**14
SEGMENTS_AT_LIMIT = 64
CHECK_BYTES = 8_192
"""As much as a few predictions take: what the readiness check writes."""
COUNT_BYTES = 2**20
OLDEST_BYTES = 2**16


class Spool:
    """A queue of predictions: each process appends and observes, one drainer empties it.

    >>> from tempfile import TemporaryDirectory
    >>> from leeway.schema import Feature, FeatureSchema
    >>> from service.spool.reader import SpoolReader
    >>> schema = FeatureSchema((Feature("age", "integer"),))
    >>> record = PredictionRecord(
    ...     "0195-1", datetime.now(UTC), "v1", "customer-1", None, (40,), 0.5, 1, 0, None, 0.001, None, None
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     with Spool(Path(folder), schema, limit_bytes=2**20, fsync_always=False) as spool:
    ...         spool.append([record])
    ...         reader = SpoolReader(Path(folder))
    ...         batch = reader.take(limit=100)  # the records stay in the spool ...
    ...         reader.ack(batch)  # ... until they are acknowledged
    ...         batch.records == [record], spool.backlog()
    (True, 0)

    All segments and dead letters together take at most `limit_bytes`. A process reserves a segment's whole size when it
    creates the segment, so an append does not look at the others.
    """

    def __init__(self, path: Path, schema: FeatureSchema, *, limit_bytes: int, fsync_always: bool) -> None:
        """Open the spool in the folder `path`, which is created if it is missing.

        Raises:
            SpoolError: the folder cannot be used, or the spool is full; the message says what to do.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        self._segment_bytes = min(max(limit_bytes // SEGMENTS_AT_LIMIT, MIN_SEGMENT_BYTES), MAX_SEGMENT_BYTES)
        self._fsync_always = fsync_always
        self._fingerprint = schema.fingerprint
        self._lock, self._counting_lock = Lock(), Lock()
        self._is_closed = False
        self._descriptor = -1
        self._room_bytes = 0
        self._counts: dict[str, tuple[int, int]] = {}
        with spool_errors(path):
            if path.is_file():
                raise SpoolError(f"spool {path} is a file; set LEEWAY_SPOOL to the path of a folder")
            schema_path(path, "").parent.mkdir(parents=True, exist_ok=True)
            self._keep_schema(schema)
            with suppress(SpoolFull):  # a full spool can be observed, and each append tries again
                self._open_segment(CHECK_BYTES)

    def close(self) -> None:
        """Close the segment; waiting records stay in it."""
        with self._lock, spool_errors(self.path):
            self._is_closed = True
            self._close_segment()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- appending --------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Append `records`; once this returns they survive a killed process. Callable from any thread.

        If it raises, only the first `SpoolError.kept` records are kept. Append the others again, or one by one: a
        record that is in the spool twice is stored once.

        Raises:
            SpoolFull: there is no room for all of them; there may be for fewer.
            SpoolError: a record has no JSON form, permission is denied, the disk fails, …
        """
        try:
            payloads = encode_all(records)
        except ValueError as error:
            raise SpoolError(f"a prediction cannot be written as JSON: {error}") from error
        self.append_encoded(payloads)

    def append_encoded(self, payloads: Sequence[bytes]) -> None:
        """Append records that `PredictionRecord.to_json` encoded, with one write; otherwise like `append`."""
        lines = to_lines(payloads)
        with self._lock, spool_errors(self.path):
            if len(lines) > self._room_bytes:
                self._open_segment(len(lines))
            self._write(lines)
            if self._fsync_always:
                flush(self._descriptor)

    def check_writable(self) -> None:
        """Write as much as a few predictions take, and delete it again.

        Raises:
            SpoolError: an append would fail; the message says why.
        """
        trial = self.path / f"check-{os.getpid()}"
        with self._lock, spool_errors(self.path):
            if self._room_bytes < CHECK_BYTES or os.fstat(self._descriptor).st_nlink == 0:  # the file was deleted
                self._open_segment(CHECK_BYTES)
            try:
                trial.write_bytes(bytes(CHECK_BYTES))
            finally:
                trial.unlink(missing_ok=True)

    def _write(self, lines: bytes) -> None:
        written = os.write(self._descriptor, lines) if lines else 0
        self._room_bytes -= written
        while written < len(lines):  # the disk became full: the next write raises the error
            try:
                written += os.write(self._descriptor, lines[written:])
            except OSError as error:
                self._close_segment()  # it ends with a torn record, so nothing may follow
                raise spool_error(self.path, error, kept=lines_in(lines[:written])) from error

    def _open_segment(self, needed_bytes: int) -> None:
        """Close the current segment and create one with room for `needed_bytes`; its name appears once it is locked."""
        if self._is_closed:
            raise SpoolError(f"spool {self.path} is closed")
        self._close_segment()
        with exclusive(self.path / "spool.lock"):
            room = self.limit_bytes - self._reserved_bytes()
            if needed_bytes > room:
                raise SpoolFull(f"spool {self.path}: at its limit of {self.limit_bytes:,} bytes (LEEWAY_SPOOL_LIMIT)")
            new = self.path / f"{os.getpid()}.new"
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o644)
            try:
                try_lock(descriptor, fcntl.LOCK_EX)
                new.rename(self.path / f"{time.time_ns():020d}-{os.getpid()}-{self._fingerprint}{SEGMENT_SUFFIX}")
                if self._fsync_always:
                    flush_folder(self.path)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor, self._room_bytes = descriptor, max(needed_bytes, min(self._segment_bytes, room))

    def _close_segment(self) -> None:
        descriptor, self._descriptor, self._room_bytes = self._descriptor, -1, 0
        if descriptor >= 0:
            os.close(descriptor)

    def _reserved_bytes(self) -> int:
        """What the spool takes if all other processes fill their segments."""
        return self._dead_letter_bytes() + sum(
            self._segment_bytes
            if segment.size_bytes < self._segment_bytes and has_writer(segment.path)
            else segment.size_bytes
            for segment in segments_in(self.path)
        )

    def _keep_schema(self, schema: FeatureSchema) -> None:
        target, document = schema_path(self.path, schema.fingerprint), msgspec.json.encode(schema)
        if not target.exists() or target.read_bytes() != document:
            new = target.with_suffix(f".{os.getpid()}")
            new.write_bytes(document)
            new.replace(target)

    # --- observing --------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """How many records wait. It counts only what was appended since the last call."""
        with self._counting_lock, spool_errors(self.path):
            segments, positions = segments_in(self.path), self._status().positions
            self._counts = {segment.name: self._count(segment) for segment in segments}
            return sum(
                max(0, lines // 2 - positions.get(name, Position()).records)
                for name, (_, lines) in self._counts.items()
            )

    def backlog_age_s(self, now: datetime | None = None) -> float:
        """How long the oldest record has been waiting, in seconds; 0 if none waits."""
        with spool_errors(self.path):
            positions = self._status().positions
            for segment in segments_in(self.path):
                start = positions.get(segment.name, Position()).offset
                if start < segment.size_bytes and (made := _first_time(segment, start)) is not None:
                    return max(0.0, ((now or datetime.now(UTC)) - made).total_seconds())
        return 0.0

    def size_bytes(self) -> int:
        """Bytes in use; compare with `limit_bytes`."""
        with spool_errors(self.path):
            return self._dead_letter_bytes() + sum(segment.size_bytes for segment in segments_in(self.path))

    def _dead_letter_bytes(self) -> int:
        letters = dead_letters_path(self.path)
        return letters.stat().st_size if letters.exists() else 0

    def _status(self) -> DrainerStatus:
        return read_status(self.path) or DrainerStatus()

    def _count(self, segment: SegmentFile) -> tuple[int, int]:
        """How much of a segment was searched for newlines, and how many were found; a record has two."""
        counted, found = self._counts.get(segment.name, (0, 0))
        if counted < segment.size_bytes:
            try:
                with segment.path.open("rb") as file:
                    file.seek(counted)
                    while part := file.read(COUNT_BYTES):
                        counted, found = counted + len(part), found + part.count(b"\n")
            except FileNotFoundError:
                return counted, 0  # the drainer deleted it meanwhile
        return counted, found


def _first_time(segment: SegmentFile, start: int) -> datetime | None:
    """When the first readable record after `start` was made."""
    try:
        with segment.path.open("rb") as file:
            file.seek(start)
            lines = file.read(OLDEST_BYTES).split(b"\n")
    except FileNotFoundError:
        return None
    return next((record.predicted_at for line in lines if (record := record_of(line)) is not None), None)
