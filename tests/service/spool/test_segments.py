from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from service.spool.segments import (
    FileLock,
    SpoolError,
    SpoolFull,
    complete_bytes,
    has_writer,
    payload_of,
    segments_in,
    spool_errors,
    to_lines,
)

# --- lines --------------------------------------------------------------------------------------------------------


def test_each_payload_becomes_a_line_of_its_own() -> None:
    """A newline before and after, the checksum in eight hex digits, a space, the payload."""
    assert to_lines([b"123456789", b""]) == b"\ncbf43926 123456789\n\n00000000 \n"  # CRC-32's published check value


@pytest.mark.parametrize("payload", [b"", b"[1,2]", "ünïcödé".encode()])
def test_a_payload_is_read_from_its_line(payload: bytes) -> None:
    """What was written is read."""
    assert payload_of(to_lines([payload]).strip(b"\n")) == payload


def test_no_flipped_bit_passes_the_checksum() -> None:
    """Each single flipped bit of a line is noticed, in the checksum and in the payload."""
    line = to_lines([b'["id",0.25]']).strip(b"\n")
    for place in range(8 * len(line)):
        flipped = bytearray(line)
        flipped[place // 8] ^= 1 << place % 8
        assert payload_of(bytes(flipped)) is None


@pytest.mark.parametrize("line", [b"", b"0", b"00000000", b"00000000x", b"zzzzzzzz []"])
def test_no_line_is_no_payload(line: bytes) -> None:
    """Text that is not a line is damaged, not an error."""
    assert payload_of(line) is None


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"\n", 0),
        (b"\nab", 0),
        (b"\nab\n", 4),
        (b"\nab\n\n", 4),
        (b"\nab\n\ncd", 4),
        (b"\nab\n\ncd\n", 8),
        (b"cd\n", 3),
        (b"cd", 0),
    ],
)
def test_whole_lines_end_at_their_newline(data: bytes, whole: int) -> None:
    """The newline before a line that is not complete yet is left to it."""
    assert complete_bytes(data) == whole


# --- files and locks ------------------------------------------------------------------------------------------------


def test_segments_are_listed_oldest_first(tmp_path: Path) -> None:
    """By the time in their names; other files are not segments."""
    for name in ("0002-1-abc.segment", "0001-2-def.segment", "drainer.lock", "0000.new"):
        (tmp_path / name).write_bytes(b"x")
    found = segments_in(tmp_path)
    assert [(each.name, each.fingerprint, each.size_bytes) for each in found] == [
        ("0001-2-def.segment", "def", 1),
        ("0002-1-abc.segment", "abc", 1),
    ]


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """A second holder gets it after the first one's release, which may be repeated."""
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_a_missing_file_has_no_writer(tmp_path: Path) -> None:
    """The drainer may have deleted it."""
    assert not has_writer(tmp_path / "gone")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, SpoolFull, "disk is full"),
        (errno.EDQUOT, SpoolFull, "quota"),
        (errno.EROFS, SpoolError, "not writable; check owner, mode and mount"),
        (errno.EACCES, SpoolError, "not writable"),
        (errno.EIO, SpoolError, "failed to read or write"),
        (errno.ENOTDIR, SpoolError, "Not a directory"),
    ],
)
def test_system_errors_say_what_to_do(number: int, kind: type[SpoolError], words: str) -> None:
    """The message names the spool; only missing space is `SpoolFull`."""
    with pytest.raises(SpoolError, match=words) as caught, spool_errors(Path("var/spool")):
        raise OSError(number, os.strerror(number))
    assert (type(caught.value), "var/spool" in str(caught.value)) == (kind, True)
