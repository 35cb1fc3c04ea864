"""Answered predictions wait here for the database: one local SQLite file in WAL mode, open in several processes.

An append costs some tens of microseconds and waits for nothing but the file. It survives a killed process; with
`fsync_always` a power cut too. A request never pays for a checkpoint: the mover makes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Self

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord
from service.spool.appender import Appender
from service.spool.file import (
    FileLock,
    Reserve,
    SpoolError,
    beside,
    connect,
    prepare,
    result_code,
    run_checkpoint,
    speaking_of,
    transaction,
)

__all__ = ["Batch", "Spool", "SpoolError", "UnknownSchema"]


class UnknownSchema(SpoolError):
    """The spool does not know the schema of these records."""


@dataclass(frozen=True)
class Batch:
    """The oldest waiting records of one schema, each with its number in the spool.

    `unreadable` are the numbers of rows that hold no record. `has_more` says whether others wait behind.
    """

    fingerprint: str
    entries: tuple[tuple[int, PredictionRecord], ...]
    unreadable: tuple[int, ...]
    last_seq: int
    has_more: bool


class Spool:
    """The queue of answered predictions: many append, the one process that holds the lease moves, anyone observes.

    The file may use `limit_bytes`. Beside it SQLite's journal takes up to a sixteenth of that, and half as much is kept
    back so that a spool on a full disk can be emptied. Deleted rows leave room that is used again.
    """

    def __init__(self, path: Path, schema: FeatureSchema, *, limit_bytes: int, fsync_always: bool) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self._journal_limit_bytes = min(max(limit_bytes // 32, 2**20), 2**25)
        self._reserve = Reserve(beside(path, ".reserve"), self._journal_limit_bytes)
        self._moving_lock, self._observing_lock = Lock(), Lock()
        with ExitStack() as resources:
            self.set_aside = prepare(path, resources.enter_context(FileLock(beside(path, ".lock"))))
            """Where a damaged file was put when this spool was opened; None where it was sound."""
            self._moving = resources.enter_context(closing(connect(path)))
            self._observing = resources.enter_context(closing(connect(path)))
            appending = resources.enter_context(closing(connect(path, fsync_always=fsync_always)))
            self._appender = Appender(
                appending,
                path,
                schema.fingerprint,
                limit_bytes=limit_bytes,
                journal_limit_bytes=self._journal_limit_bytes,
            )
            resources.callback(self._appender.close)
            self._page_bytes = int(self._moving.execute("PRAGMA page_size").fetchone()[0])
            self._moving.execute(
                "INSERT OR IGNORE INTO schemas VALUES (?, ?)", (schema.fingerprint, json.dumps(schema.to_json()))
            )
            self._resources = resources.pop_all()

    @classmethod
    def open(cls, path: Path, schema: FeatureSchema, *, limit_bytes: int, fsync_always: bool) -> Self:
        """Open the spool at `path`, or begin it. A damaged file is set aside first; `set_aside` says where.

        Raises:
            SpoolError: the file cannot be used; the message says what to do.
        """
        with speaking_of(path):
            if path.is_dir():
                raise SpoolError(f"spool {path} is a folder; give LEEWAY_SPOOL the path of a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, schema, limit_bytes=limit_bytes, fsync_always=fsync_always)

    def close(self) -> None:
        """Close the file; what waits in it stays."""
        with self._moving_lock, self._observing_lock:
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Write `records`, all or none of them; when this returns they survive a killed process. From any thread.

        Raises:
            SpoolError: nothing was written: disk full, limit reached, no permission, a damaged file, …
        """
        self._appender.append(records)

    def check_writable(self) -> None:
        """Really write, as an append would.

        Raises:
            SpoolError: an append would fail; why.
        """
        self._appender.check()

    # --- moving: for the one process that holds the lease -----------------------------------------------------------

    def lease(self) -> FileLock | None:
        """The right to move, for one process at a time until it lets go or dies; None where another has it."""
        with speaking_of(self.path):
            lock = FileLock(beside(self.path, ".mover"))
            if lock.take():
                return lock
            lock.release()
            return None

    def take(self, limit: int) -> Batch | None:
        """The oldest records of one schema, at most `limit`; they stay until `forget`. None where nothing waits."""
        with self._moving_lock, speaking_of(self.path):
            rows = self._moving.execute(
                "SELECT seq, schema, payload FROM records ORDER BY seq LIMIT ?", (limit + 1,)
            ).fetchall()
        if not rows:
            return None
        fingerprint = rows[0][1]
        other = next((place for place, row in enumerate(rows) if row[1] != fingerprint), len(rows))
        end = min(other, limit)
        entries, unreadable = _read((seq, payload) for seq, _, payload in rows[:end])
        return Batch(fingerprint, entries, unreadable, last_seq=rows[end - 1][0], has_more=end < len(rows))

    def forget(self, batch: Batch) -> None:
        """Delete a batch that the database has."""
        self._change(lambda: self._moving.execute("DELETE FROM records WHERE seq <= ?", (batch.last_seq,)))

    def refuse(self, seqs: Iterable[int], reason: str) -> None:
        """Put rows that can never be stored aside in the table `refused`, where a person finds them with `reason`."""
        numbers = [(seq,) for seq in seqs]
        refused_at = datetime.now(UTC).isoformat()

        def change() -> None:
            with transaction(self._moving):
                self._moving.executemany(
                    "INSERT INTO refused (refused_at, reason, schema, payload)"
                    " SELECT ?, ?, schema, payload FROM records WHERE seq = ?",
                    [(refused_at, reason, *number) for number in numbers],
                )
                self._moving.executemany("DELETE FROM records WHERE seq = ?", numbers)

        self._change(change)

    def _change(self, change: Callable[[], object]) -> None:
        """Deleting needs room in the journal first: on a full disk the reserve makes it."""
        with self._moving_lock, speaking_of(self.path):
            try:
                change()
            except sqlite3.OperationalError as error:
                if result_code(error) != sqlite3.SQLITE_FULL:
                    raise
                self._reserve.give_up()
                run_checkpoint(self._moving, "TRUNCATE")
                change()

    def schema(self, fingerprint: str) -> FeatureSchema:
        """The schema that records were written with, though the bundle may have another by now.

        Raises:
            UnknownSchema: the spool does not hold it.
        """
        with self._moving_lock, speaking_of(self.path):
            row = self._moving.execute("SELECT document FROM schemas WHERE fingerprint = ?", (fingerprint,)).fetchone()
        try:
            return FeatureSchema.from_json(json.loads(row[0] if row else "{}"))
        except ValueError as error:
            raise UnknownSchema(f"the schema {fingerprint} is not known: {error}") from error

    def checkpoint(self) -> None:
        """Carry the journal over into the file, and cut it where it is long. Called by the mover, every cycle.

        Appends go on meanwhile, but for an instant where the journal is cut.
        """
        with self._moving_lock, speaking_of(self.path):
            frames = run_checkpoint(self._moving, "PASSIVE")
            if frames * self._page_bytes > self._journal_limit_bytes // 2:
                run_checkpoint(self._moving, "TRUNCATE")
            self._reserve.keep()

    # --- observing --------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """How many records wait; read from both ends of the queue, so it costs the same at any length."""
        return self._observe("SELECT (SELECT max(seq) FROM records) - (SELECT min(seq) FROM records) + 1")

    def size_bytes(self) -> int:
        """Bytes in use in the file; to be held against `limit_bytes`."""
        pages = self._observe("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count")
        return pages * self._page_bytes

    def _observe(self, query: str) -> int:
        with self._observing_lock, speaking_of(self.path):
            (number,) = self._observing.execute(query).fetchone()
        return int(number or 0)


def _read(rows: Iterable[tuple[int, str]]) -> tuple[tuple[tuple[int, PredictionRecord], ...], tuple[int, ...]]:
    entries: list[tuple[int, PredictionRecord]] = []
    unreadable: list[int] = []
    for seq, payload in rows:
        try:
            entries.append((seq, PredictionRecord.from_json(payload)))
        except ValueError:
            unreadable.append(seq)
    return tuple(entries), tuple(unreadable)
