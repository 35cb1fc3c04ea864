"""The drainer's status, a small file in the spool: its position, what it has stored, and when.

The file has a fixed size and is overwritten in place, which works on a full disk too. A checksum shows a
reader that a write is in progress or that the file is damaged.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from service.spool.segments import payload_of, to_lines

FILE_NAME = "drainer.status"
FILE_BYTES = 4_096
_ATTEMPTS = 5
_MAX_POSITIONS = 32


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How much of a segment is stored: the first bytes, and the records in them."""

    offset: int = 0
    records: int = 0


class DrainerStatus(msgspec.Struct, frozen=True):
    """The drainer's state at `updated_at` (Unix time in seconds).

    `written` and `dead_lettered` count predictions since the spool was created; a restart does not reset them.
    `positions` has an entry for each segment of which a part is stored. `is_outage` is True while the database is
    unreachable.
    """

    updated_at: float = 0.0
    written: int = 0
    dead_lettered: int = 0
    positions: dict[str, Position] = {}
    is_outage: bool = False


def read_status(folder: Path) -> DrainerStatus | None:
    """The status in the spool's folder; None if it is missing or damaged."""
    for attempt in range(_ATTEMPTS):
        try:
            line = (folder / FILE_NAME).read_bytes().strip()
        except OSError:
            return None
        if (payload := payload_of(line)) is not None:
            try:
                return _decoder.decode(payload)
            except ValueError:
                return None
        time.sleep(0.001 * attempt)
    return None


def write_status(folder: Path, status: DrainerStatus) -> None:
    """Overwrite the status.

    Raises:
        OSError: the file cannot be written.
    """
    if len(status.positions) > _MAX_POSITIONS:  # the other segments are drained again, which does no harm
        newest = sorted(status.positions.items())[-_MAX_POSITIONS:]
        status = msgspec.structs.replace(status, positions=dict(newest))
    content = to_lines([msgspec.json.encode(status)]).ljust(FILE_BYTES)
    descriptor = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


_decoder = msgspec.json.Decoder(DrainerStatus)
