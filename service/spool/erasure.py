"""Erases a customer's records from the spool: from segments, including records that are stored, and from dead letters.

The drainer keeps running. Records that still wait are left to it: the tombstone in the database
(`leeway.store.erasures`) makes it drop them, and only then are their bytes overwritten.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from leeway.store.record import PredictionRecord
from service.spool.reader import SpoolReader
from service.spool.segments import (
    DEAD_LETTERS_LOCK,
    SegmentFile,
    SpoolError,
    dead_letters_path,
    erased_line,
    exclusive,
    record_of,
    segments_in,
    spool_errors,
)
from service.spool.status import DrainerStatus, Position, read_status

__all__ = ["SpoolErasure", "SpoolError", "count_in_spool", "erase_from_spool"]
POLL_S = 0.1
_ERASED_LETTER = b'{"reason":"erased"}'


@dataclass(frozen=True)
class SpoolErasure:
    """How many records and dead letters of a customer were erased, and how many `waiting` records could not be yet."""

    records: int = 0
    dead_letters: int = 0
    waiting: int = 0


def count_in_spool(path: Path, user_id: str) -> SpoolErasure:
    """What `erase_from_spool` would erase.

    Raises:
        SpoolError: the folder cannot be read.
    """
    if not path.is_dir():
        return SpoolErasure()
    with spool_errors(path):
        records = [_lines(segment.path, _is_record_of(user_id)) for segment in segments_in(path)]
        letters = _lines(dead_letters_path(path), _may_be_letter_of(user_id))
        return SpoolErasure(sum(map(len, records)), len(letters))


def erase_from_spool(path: Path, user_id: str, *, timeout_s: float) -> SpoolErasure:
    """Erase what the spool holds of a customer, once its tombstone is in the database.

    It waits up to `timeout_s` for the drainer to store or drop the records that wait now. Without a drainer it does not
    wait, and erases them itself. A dead letter that cannot be read is erased too, since it may be the customer's.

    Raises:
        SpoolError: the folder cannot be read or written.
    """
    if not path.is_dir():
        return SpoolErasure()
    reader = SpoolReader(path)
    try:
        is_ours = reader.lease()
        with spool_errors(path):
            segments = segments_in(path)
            ends = {each.name: each.size_bytes for each in segments} if is_ours else _drained(path, segments, timeout_s)
            found = [_erase_records(segment, ends[segment.name], user_id) for segment in segments]
            letters = _erase_dead_letters(path, user_id)
    finally:
        reader.release()
    return SpoolErasure(sum(erased for erased, _ in found), letters, sum(waiting for _, waiting in found))


def _drained(path: Path, segments: list[SegmentFile], timeout_s: float) -> dict[str, int]:
    """The drainer's position in each of these segments, once it has drained them or the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        positions = (read_status(path) or DrainerStatus()).positions
        existing = [each for each in segments if each.path.exists()]
        ends = {each.name: each.size_bytes for each in segments}  # the drainer deletes what it has drained
        ends |= {each.name: positions.get(each.name, Position()).offset for each in existing}
        if time.monotonic() >= deadline_s or all(ends[each.name] >= each.size_bytes for each in segments):
            return ends
        time.sleep(POLL_S)


def _erase_records(segment: SegmentFile, end: int, user_id: str) -> tuple[int, int]:
    """Overwrite the customer's lines before the offset `end`; return how many, and how many follow."""
    lines = _lines(segment.path, _is_record_of(user_id))
    done = [(offset, erased_line(len(line))) for offset, line in lines if offset + len(line) <= end]
    _overwrite(segment.path, done)
    return len(done), len(lines) - len(done)


def _erase_dead_letters(path: Path, user_id: str) -> int:
    letters = dead_letters_path(path)
    with exclusive(path / DEAD_LETTERS_LOCK):
        lines = _lines(letters, _may_be_letter_of(user_id))
        _overwrite(letters, [(offset, _ERASED_LETTER.ljust(len(line))[: len(line)]) for offset, line in lines])
    return len(lines)


def _lines(path: Path, matches: Callable[[bytes], bool]) -> list[tuple[int, bytes]]:
    """The offset and the text of each line that matches; none if the drainer has deleted the file."""
    found, offset = [], 0
    try:
        with path.open("rb") as file:
            for text in file:
                if matches(line := text.rstrip(b"\n")):
                    found.append((offset, line))
                offset += len(text)
    except FileNotFoundError:
        return []
    return found


def _overwrite(path: Path, lines: list[tuple[int, bytes]]) -> None:
    """Write these lines at their offsets. Other processes append to the file meanwhile."""
    if not lines:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:  # the drainer deleted it
        return
    try:
        for offset, line in lines:
            os.pwrite(descriptor, line, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_record_of(user_id: str) -> Callable[[bytes], bool]:
    """Whether a segment's line is a record of the customer, or a damaged one that names the customer."""
    name = msgspec.json.encode(user_id)

    def matches(line: bytes) -> bool:
        return name in line and ((record := record_of(line)) is None or record.user_id == user_id)

    return matches


def _may_be_letter_of(user_id: str) -> Callable[[bytes], bool]:
    """Whether a dead letter is the customer's, or cannot be read."""

    def matches(line: bytes) -> bool:
        if not line.strip() or line.startswith(_ERASED_LETTER):
            return False
        try:
            return PredictionRecord.from_json(_decode_letter(line).record).user_id == user_id
        except ValueError:
            return True

    return matches


class _Letter(msgspec.Struct):
    """The member of a dead letter that is needed here."""

    record: str


_decode_letter = msgspec.json.Decoder(_Letter).decode
