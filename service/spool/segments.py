"""The spool's files: records as lines in segments, the locks between processes, and the errors of a failing disk.

A spool is a folder:

    1764372000123456789-4711-9f86d081884c.segment   records of one writer, in order
    schemas/9f86d081884c.json                       the schema that a segment's name refers to
    dead_letters.jsonl                              what can never be stored, each with its reason
    drainer.status                                  the drainer's position (service.spool.status)
    drainer.lock, spool.lock                        held by the drainer; held while a segment is created
    dead_letters.lock                               held while dead letters are appended or erased
    drainer.reserve                                 disk space for dead letters (service.spool.reader.DiskReserve)

A record is a line: eight hex digits of its CRC-32, a space, its JSON (which has no raw newline). It has a newline
before it and one after it, so damage to a record never touches its neighbours. An erased record (its customer's data
was deleted, see `service.spool.erasure`) is a line of the same length with the JSON `null`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from leeway.store.record import PredictionRecord

SEGMENT_SUFFIX = ".segment"
DEAD_LETTERS_LOCK = "dead_letters.lock"
_PREFIX_BYTES = 9
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_WRITABLE = "permission denied: not writable; check owner, mode and mount"
_MESSAGES: Final = {
    errno.ENOSPC: "no space left: the disk is full",
    errno.EDQUOT: "no space left: the disk quota is used up",
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EROFS: _NOT_WRITABLE,
    errno.EIO: "the disk failed to read or write",
}


class SpoolError(Exception):
    """The spool cannot be used; the message says why and, where possible, what to do."""

    kept = 0
    """The number of leading records that were kept: the disk became full after them."""


class SpoolFull(SpoolError):
    """There is no room for these records: the disk is full, or the spool is at its limit. Fewer may still fit."""


@contextmanager
def spool_errors(path: Path) -> Iterator[None]:
    """Translate the system's errors inside the block into a `SpoolError` about `path`."""
    try:
        yield
    except OSError as error:
        raise spool_error(path, error) from error


def spool_error(path: Path, error: OSError, kept: int = 0) -> SpoolError:
    """A system's error as a `SpoolError` about `path`."""
    reason = _MESSAGES.get(error.errno or 0) or error.strerror or str(error)
    translated = (SpoolFull if error.errno in _FULL else SpoolError)(f"spool {path}: {reason}")
    translated.kept = kept
    return translated


# --- lines ------------------------------------------------------------------------------------------------------------


def to_lines(payloads: Iterable[bytes]) -> bytes:
    """The bytes to append to a segment for these payloads, none of which holds a newline."""
    return b"".join([b"\n%08x %b\n" % (crc32(payload), payload) for payload in payloads])


def lines_in(data: bytes) -> int:
    """How many whole lines `data` holds, which starts where a line starts."""
    return data.count(b"\n") // 2


def payload_of(line: bytes) -> bytes | None:
    """The payload of a line without its newlines; None if the line is damaged."""
    payload = line[_PREFIX_BYTES:]
    return payload if line[:_PREFIX_BYTES] == b"%08x " % crc32(payload) else None


def record_of(line: bytes) -> PredictionRecord | None:
    """The record of a line without its newlines; None if the line is damaged or holds something else."""
    payload = payload_of(line)
    try:
        return None if payload is None else PredictionRecord.from_json(payload)
    except ValueError:
        return None


def erased_line(length: int) -> bytes:
    """What takes the place of an erased record's line of this many bytes, without its newlines."""
    payload = b"null".ljust(length - _PREFIX_BYTES)
    return b"%08x %b" % (crc32(payload), payload)


def is_erased(line: bytes) -> bool:
    """Whether a line holds an erased record."""
    payload = payload_of(line)
    return payload is not None and payload.rstrip(b" ") == b"null"


def complete_bytes(data: bytes) -> int:
    """How much of `data`, which starts between two lines, holds whole lines."""
    end = data.rfind(b"\n") + 1
    # A newline that follows another, or that stands alone, begins a line whose rest is still missing.
    return end - 1 if data[end - 2 : end] == b"\n\n" or end == 1 else end


# --- segments ---------------------------------------------------------------------------------------------------------


class SegmentFile(NamedTuple):
    """A segment's file; `name` holds the time of its creation, so names sort by age."""

    name: str
    path: Path
    size_bytes: int

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its records' schema."""
        return self.name.removesuffix(SEGMENT_SUFFIX).rpartition("-")[2]


def segments_in(folder: Path) -> list[SegmentFile]:
    """The folder's segments, the oldest first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SEGMENT_SUFFIX):
                try:
                    found.append(SegmentFile(entry.name, Path(entry.path), entry.stat().st_size))
                except FileNotFoundError:
                    continue  # the drainer deleted it meanwhile
    return sorted(found)


def schema_path(folder: Path, fingerprint: str) -> Path:
    """Where the spool in `folder` keeps a schema."""
    return folder / "schemas" / f"{fingerprint}.json"


def dead_letters_path(folder: Path) -> Path:
    """Where the spool in `folder` keeps dead letters. Hold `exclusive(folder / DEAD_LETTERS_LOCK)` to write there."""
    return folder / "dead_letters.jsonl"


# --- locks and flushes ------------------------------------------------------------------------------------------------


class FileLock:
    """A lock between processes (flock) on a file; the system releases it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def acquire(self) -> bool:
        """Acquire the lock exclusively without waiting; return whether that succeeded."""
        return try_lock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Release the lock permanently; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def try_lock(descriptor: int, kind: int = fcntl.LOCK_SH) -> bool:
    """Lock an open file without waiting; return whether that succeeded. Closing the file releases the lock."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at `path`; waits for another holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def has_writer(segment: Path) -> bool:
    """Whether a process may still append to a segment: its writer holds a lock until it closes the file or dies."""
    try:
        descriptor = os.open(segment, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Wait until the file's data is on the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync


def flush_folder(folder: Path) -> None:
    """Wait until the folder's list of files is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
