"""The spool: a durable queue of predictions on local disk, between the service's answers and the database.

It is one SQLite file in WAL mode that several processes may have open. An append takes some tens of microseconds and
never waits for the database or a checkpoint. What was appended survives a killed process; with `fsync_always` also a
power failure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Self

import msgspec

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord
from service.spool.file import (
    DiskReserve,
    FileLock,
    SpoolError,
    connect,
    prepare,
    result_code,
    run_checkpoint,
    sidecar_path,
    spool_errors,
    transaction,
)

__all__ = ["Batch", "Spool", "SpoolError", "UnknownSchema"]
JOURNAL_CHECK_ROWS = 256
STATEMENT_ROWS = 1_000
"""Rows per INSERT. SQLite releases the interpreter lock once a statement, and taking it back can be slow."""


class UnknownSchema(SpoolError):
    """The spool does not hold the schema of these records."""


@dataclass(frozen=True)
class Batch:
    """The oldest waiting records of one schema, each with its sequence number in the spool.

    `unreadable` are the sequence numbers of rows that hold no valid record. `has_more` is True if other rows follow.
    """

    fingerprint: str
    entries: tuple[tuple[int, PredictionRecord], ...]
    unreadable: tuple[int, ...]
    last_seq: int
    has_more: bool

    @property
    def records(self) -> list[PredictionRecord]:
        """The records without their sequence numbers."""
        return [record for _, record in self.entries]


class Spool:
    """A queue of predictions: any process appends and observes, the one that holds the lease drains.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from leeway.schema import Feature, FeatureSchema
    >>> schema = FeatureSchema((Feature("age", "integer"),))
    >>> record = PredictionRecord(
    ...     "0195-1", datetime.now(UTC), "v1", "customer-1", None, (40,), 0.5, 1, 0, None, 0.001, None, None
    ... )
    >>> with (
    ...     TemporaryDirectory() as folder,
    ...     Spool(Path(folder) / "spool.db", schema, limit_bytes=2**20, fsync_always=False) as spool,
    ... ):
    ...     spool.append([record])
    ...     batch = spool.take(limit=100)  # the records stay in the spool ...
    ...     spool.ack(batch)  # ... until they are acknowledged
    ...     batch.records == [record], spool.backlog()
    (True, 0)

    The file takes at most `limit_bytes`. SQLite's journal next to it takes up to a sixteenth of that, and half as much
    is reserved so that a spool on a full disk can still be drained. The space of deleted rows is reused.
    """

    def __init__(self, path: Path, schema: FeatureSchema, *, limit_bytes: int, fsync_always: bool) -> None:
        """Open or create the spool at `path`. A damaged file is set aside first, and the log says where.

        Raises:
            SpoolError: the file cannot be used; the message says what to do.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        self._journal_limit_bytes = min(max(limit_bytes // 32, 2**20), 2**25)
        self._reserve = DiskReserve(sidecar_path(path, ".reserve"), self._journal_limit_bytes)
        self._fingerprint = schema.fingerprint
        self._appending_lock, self._draining_lock, self._observing_lock = Lock(), Lock(), Lock()
        self._rows_since_check = 0
        with spool_errors(path), ExitStack() as resources:
            if path.is_dir():
                raise SpoolError(f"spool {path} is a folder; set LEEWAY_SPOOL to the path of a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(sidecar_path(path, ".lock"))
            resources.callback(lock.release)
            prepare(path, lock)
            self._appending = resources.enter_context(closing(connect(path, fsync_always=fsync_always)))
            self._draining = resources.enter_context(closing(connect(path)))
            self._observing = resources.enter_context(closing(connect(path)))
            self._page_bytes = int(self._draining.execute("PRAGMA page_size").fetchone()[0])
            self._appending.execute(f"PRAGMA max_page_count={limit_bytes // self._page_bytes}").fetchone()
            self._draining.execute(
                "INSERT OR IGNORE INTO schemas VALUES (?, ?)",
                (schema.fingerprint, msgspec.json.encode(schema).decode()),
            )
            self._resources = resources.pop_all()

    def close(self) -> None:
        """Close the file; waiting records stay in it."""
        with self._appending_lock, self._draining_lock, self._observing_lock:
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- appending: in every process, on a connection that a checkpoint never slows ----------------------------------

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Append `records`, all or none; once this returns they survive a killed process. Callable from any thread.

        Raises:
            SpoolError: nothing was written: disk full, limit reached, no permission, a damaged file, …
        """
        try:
            payloads = [record.to_json() for record in records]
        except (ValueError, TypeError) as error:
            raise SpoolError(f"a prediction cannot be written as JSON: {error}") from error
        with self._appending_lock, spool_errors(self.path):
            self._rows_since_check += len(payloads)
            if self._rows_since_check >= JOURNAL_CHECK_ROWS:
                self._bound_journal()
            with transaction(self._appending) if len(payloads) > STATEMENT_ROWS else nullcontext():
                for start in range(0, len(payloads), STATEMENT_ROWS):
                    part = payloads[start : start + STATEMENT_ROWS]
                    self._appending.execute(_insert_statement(len(part)), (self._fingerprint, *part))

    def check_writable(self) -> None:
        """Write as much as a few predictions take, and delete it again.

        Raises:
            SpoolError: an append would fail; the message says why.
        """
        with self._appending_lock, spool_errors(self.path):
            self._bound_journal()
            with transaction(self._appending):  # insert before delete, so that it needs as much space as an append
                self._appending.execute("INSERT INTO heartbeat (ballast) VALUES (zeroblob(8192))")
                self._appending.execute("DELETE FROM heartbeat WHERE id <> last_insert_rowid()")

    def _bound_journal(self) -> None:
        """Truncate a long journal, as the drainer should have done; raise if a reader prevents that for too long."""
        if self._journal_bytes() > self._journal_limit_bytes:
            run_checkpoint(self._appending, "TRUNCATE")
            if (size_bytes := self._journal_bytes()) > 2 * self._journal_limit_bytes:
                raise SpoolError(
                    f"spool {self.path}: a reader keeps the journal from being truncated ({size_bytes:,} bytes);"
                    " close the reader"
                )
        self._rows_since_check = 0

    def _journal_bytes(self) -> int:
        journal = sidecar_path(self.path, "-wal")
        return journal.stat().st_size if journal.exists() else 0

    # --- draining: for the one process that holds the lease ---------------------------------------------------------

    def lease(self) -> FileLock | None:
        """The right to drain, held by one process until it releases it or dies; None if another process holds it."""
        with spool_errors(self.path):
            lock = FileLock(sidecar_path(self.path, ".drainer"))
            if lock.acquire():
                return lock
            lock.release()
            return None

    def take(self, limit: int) -> Batch | None:
        """The oldest records of one schema, at most `limit`; they stay until `ack`. None if the spool is empty."""
        with self._draining_lock, spool_errors(self.path):
            rows = self._draining.execute(
                "SELECT seq, schema, payload FROM records ORDER BY seq LIMIT ?", (limit + 1,)
            ).fetchall()
        if not rows:
            return None
        fingerprint = rows[0][1]
        other = next((place for place, row in enumerate(rows) if row[1] != fingerprint), len(rows))
        end = min(other, limit)
        entries, unreadable = _decode((seq, payload) for seq, _, payload in rows[:end])
        return Batch(fingerprint, entries, unreadable, last_seq=rows[end - 1][0], has_more=end < len(rows))

    def ack(self, batch: Batch) -> None:
        """Delete a batch that the database has stored."""
        self._change(lambda: self._draining.execute("DELETE FROM records WHERE seq <= ?", (batch.last_seq,)))

    def move_to_dead_letters(self, seqs: Iterable[int], reason: str) -> None:
        """Move rows that can never be stored to the table `dead_letters`, with the `reason`."""
        failed_at = datetime.now(UTC).isoformat()
        keys = [(seq,) for seq in seqs]

        def change() -> None:
            with transaction(self._draining):
                self._draining.executemany(
                    "INSERT INTO dead_letters (failed_at, reason, schema, payload)"
                    " SELECT ?, ?, schema, payload FROM records WHERE seq = ?",
                    [(failed_at, reason, *key) for key in keys],
                )
                self._draining.executemany("DELETE FROM records WHERE seq = ?", keys)

        self._change(change)

    def _change(self, change: Callable[[], object]) -> None:
        """Run `change`; if the disk is too full to delete rows, give up the reserve and run it again."""
        with self._draining_lock, spool_errors(self.path):
            try:
                change()
            except sqlite3.OperationalError as error:
                if result_code(error) != sqlite3.SQLITE_FULL:
                    raise
                self._reserve.give_up()
                run_checkpoint(self._draining, "TRUNCATE")
                change()

    def schema(self, fingerprint: str) -> FeatureSchema:
        """The schema that records were written with; the current bundle may have another.

        Raises:
            UnknownSchema: the spool does not hold it.
        """
        with self._draining_lock, spool_errors(self.path):
            row = self._draining.execute(
                "SELECT document FROM schemas WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
        try:
            return msgspec.json.decode(row[0] if row else b"{}", type=FeatureSchema)
        except ValueError as error:
            raise UnknownSchema(f"unknown schema {fingerprint}: {error}") from error

    def checkpoint(self) -> None:
        """Copy the journal into the file, and truncate it if it is long. The drainer calls this in every cycle.

        Appends continue meanwhile, except for the moment of truncation.
        """
        with self._draining_lock, spool_errors(self.path):
            frames = run_checkpoint(self._draining, "PASSIVE")
            if frames * self._page_bytes > self._journal_limit_bytes // 2:
                run_checkpoint(self._draining, "TRUNCATE")
            self._reserve.keep()

    # --- observing --------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """How many records wait; computed from both ends of the queue, so the cost does not grow with its length."""
        return self._observe("SELECT (SELECT max(seq) FROM records) - (SELECT min(seq) FROM records) + 1")

    def size_bytes(self) -> int:
        """Bytes in use in the file; compare with `limit_bytes`."""
        pages = self._observe("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count")
        return pages * self._page_bytes

    def _observe(self, query: str) -> int:
        with self._observing_lock, spool_errors(self.path):
            (number,) = self._observing.execute(query).fetchone()
        return int(number or 0)


@lru_cache(maxsize=8)
def _insert_statement(rows: int) -> str:
    """An INSERT of `rows` rows; parameter 1 is the schema's fingerprint, the others are the payloads."""
    values = ", ".join(f"(?1, ?{parameter})" for parameter in range(2, rows + 2))
    return f"INSERT INTO records (schema, payload) VALUES {values}"  # noqa: S608 (numbers)


def _decode(rows: Iterable[tuple[int, str]]) -> tuple[tuple[tuple[int, PredictionRecord], ...], tuple[int, ...]]:
    entries: list[tuple[int, PredictionRecord]] = []
    unreadable: list[int] = []
    for seq, payload in rows:
        try:
            entries.append((seq, PredictionRecord.from_json(payload)))
        except ValueError:
            unreadable.append(seq)
    return tuple(entries), tuple(unreadable)
