"""The writing end of the spool: a connection of its own, usable from any thread, never slowed by a checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock

from leeway.store.record import PredictionRecord
from service.spool.file import SpoolError, run_checkpoint, sidecar_path, spool_errors, transaction

JOURNAL_CHECK_ROWS = 256
STATEMENT_ROWS = 1_000
"""Rows per INSERT. SQLite releases the interpreter lock once a statement, and taking it back can be slow."""


class Appender:
    """Appends records of one schema; each call is all or nothing.

    The drainer keeps the journal short. If it does not, the appender truncates a journal longer than
    `journal_limit_bytes`, and stops appending at twice that if a reader prevents the truncation.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        fingerprint: str,
        *,
        limit_bytes: int,
        journal_limit_bytes: int,
    ) -> None:
        self._connection = connection
        self._path = path
        self._fingerprint = fingerprint
        self._journal = sidecar_path(path, "-wal")
        self._journal_limit_bytes = journal_limit_bytes
        self._lock = Lock()
        self._rows_since_check = 0
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={limit_bytes // page_bytes}").fetchone()

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Append `records`; raises SpoolError if nothing was written."""
        try:
            payloads = [record.to_json() for record in records]
        except (ValueError, TypeError) as error:
            raise SpoolError(f"a prediction cannot be written as JSON: {error}") from error
        with spool_errors(self._path), self._lock:
            self._rows_since_check += len(records)
            if self._rows_since_check >= JOURNAL_CHECK_ROWS:
                self._bound_journal()
            with transaction(self._connection) if len(payloads) > STATEMENT_ROWS else nullcontext():
                for start in range(0, len(payloads), STATEMENT_ROWS):
                    self._insert(payloads[start : start + STATEMENT_ROWS])

    def _insert(self, payloads: Sequence[str]) -> None:
        self._connection.execute(_insert_statement(len(payloads)), (self._fingerprint, *payloads))

    def check(self) -> None:
        """Write as much as a few predictions take, and delete it again; raises SpoolError if that fails."""
        with spool_errors(self._path), self._lock:
            self._bound_journal()
            with transaction(self._connection):  # insert before delete, so that it needs as much space as an append
                self._connection.execute("INSERT INTO heartbeat (ballast) VALUES (zeroblob(8192))")
                self._connection.execute("DELETE FROM heartbeat WHERE id <> last_insert_rowid()")

    def close(self) -> None:
        """Close the connection; waits for a running append."""
        with self._lock:
            self._connection.close()

    def _bound_journal(self) -> None:
        if self._journal_bytes() > self._journal_limit_bytes:
            run_checkpoint(self._connection, "TRUNCATE")
            if (size_bytes := self._journal_bytes()) > 2 * self._journal_limit_bytes:
                raise SpoolError(
                    f"spool {self._path}: a reader keeps the journal from being truncated ({size_bytes:,} bytes);"
                    " close the reader"
                )
        self._rows_since_check = 0

    def _journal_bytes(self) -> int:
        try:
            return self._journal.stat().st_size
        except FileNotFoundError:
            return 0


@lru_cache(maxsize=8)
def _insert_statement(rows: int) -> str:
    """An INSERT of `rows` rows; parameter 1 is the schema's fingerprint, the others are the payloads."""
    values = ", ".join(f"(?1, ?{parameter})" for parameter in range(2, rows + 2))
    return f"INSERT INTO records (schema, payload) VALUES {values}"  # noqa: S608 (numbers)
