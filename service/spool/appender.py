"""The writing end of the spool: one connection of its own, used from any thread, never slowed by a checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock

from leeway.store.record import PredictionRecord
from service.spool.file import SpoolError, beside, in_words, run_checkpoint, transaction

JOURNAL_CHECK_ROWS = 256
STATEMENT_ROWS = 1_000
"""One statement lets go of the interpreter once; a statement a row did so a thousand times, and got it back late."""


class Appender:
    """Writes records of one schema; each call is all or nothing.

    The mover keeps the journal short. Where it does not get round to it, the appender itself cuts a journal that has
    grown over `journal_limit_bytes`, and stops appending at twice that where a reader keeps it from being cut.
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
        self._journal = beside(path, "-wal")
        self._journal_limit_bytes = journal_limit_bytes
        self._lock = Lock()
        self._rows_since_check = 0
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={limit_bytes // page_bytes}").fetchone()

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Write `records`; raises SpoolError where nothing was written."""
        try:
            payloads = [record.to_json() for record in records]
            with self._lock:
                self._rows_since_check += len(records)
                if self._rows_since_check >= JOURNAL_CHECK_ROWS:
                    self._bound_journal()
                with transaction(self._connection) if len(payloads) > STATEMENT_ROWS else nullcontext():
                    for start in range(0, len(payloads), STATEMENT_ROWS):
                        self._insert(payloads[start : start + STATEMENT_ROWS])
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"spool {self._path}: {in_words(error)}") from error
        except (ValueError, TypeError) as error:
            raise SpoolError(f"a prediction cannot be written as JSON: {error}") from error

    def _insert(self, payloads: Sequence[str]) -> None:
        self._connection.execute(_insert_statement(len(payloads)), (self._fingerprint, *payloads))

    def check(self) -> None:
        """Write as much as a few predictions take, and take it away again; raises SpoolError where that fails."""
        try:
            with self._lock:
                self._bound_journal()
                with transaction(self._connection):  # insert before delete, so that it needs room as an append would
                    self._connection.execute("INSERT INTO heartbeat (ballast) VALUES (zeroblob(8192))")
                    self._connection.execute("DELETE FROM heartbeat WHERE id <> last_insert_rowid()")
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"spool {self._path}: {in_words(error)}") from error

    def close(self) -> None:
        """Close the connection; waits for an append under way."""
        with self._lock:
            self._connection.close()

    def _bound_journal(self) -> None:
        if self._journal_bytes() > self._journal_limit_bytes:
            run_checkpoint(self._connection, "TRUNCATE")
            if (size_bytes := self._journal_bytes()) > 2 * self._journal_limit_bytes:
                raise SpoolError(
                    f"spool {self._path}: a reader keeps its journal from being cut ({size_bytes:,} bytes); close it"
                )
        self._rows_since_check = 0

    def _journal_bytes(self) -> int:
        try:
            return self._journal.stat().st_size
        except FileNotFoundError:
            return 0


@lru_cache(maxsize=8)
def _insert_statement(rows: int) -> str:
    """The schema's fingerprint is its first value, and a payload each follows."""
    places = ", ".join(f"(?1, ?{place})" for place in range(2, rows + 2))
    return f"INSERT INTO records (schema, payload) VALUES {places}"  # noqa: S608 (numbers)
