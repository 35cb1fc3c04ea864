"""The spool's SQLite file and its sidecar files: open, check, set aside when damaged, lock between processes.

Next to `spool.db` SQLite keeps `spool.db-wal` (its journal) and `spool.db-shm`. We add `spool.db.lock` (held by every
process that has the spool open), `spool.db.drainer` (held by the one process that drains) and `spool.db.reserve` (see
`DiskReserve`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

CACHED_STATEMENTS = 16
"""An append has one prepared statement for each number of records, and large statements take a lot of memory."""
BUSY_TIMEOUT_S = 1.0

_TABLES: Final = {
    "records": "seq INTEGER PRIMARY KEY, schema TEXT NOT NULL, payload TEXT NOT NULL",
    "schemas": "fingerprint TEXT PRIMARY KEY, document TEXT NOT NULL",
    "dead_letters": "id INTEGER PRIMARY KEY, failed_at TEXT NOT NULL, reason TEXT NOT NULL,"
    " schema TEXT NOT NULL, payload TEXT NOT NULL",
    "heartbeat": "id INTEGER PRIMARY KEY, ballast BLOB NOT NULL",
}
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGED = "the file is damaged; the next start sets it aside"
_MESSAGES: Final = {
    sqlite3.SQLITE_FULL: "no space left: the disk is full, or the spool is at its limit",
    sqlite3.SQLITE_READONLY: "permission denied: not writable; check owner, mode and mount",
    sqlite3.SQLITE_PERM: "permission denied; check owner and mode",
    sqlite3.SQLITE_CANTOPEN: "cannot open the file; check that its folder is writable",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write",
    sqlite3.SQLITE_BUSY: f"another process locked the file for more than {BUSY_TIMEOUT_S:g} s",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_log = logging.getLogger("service")


class SpoolError(Exception):
    """The spool cannot be used; the message says why and, where possible, what to do."""


class _Damaged(Exception):
    """The file does not hold a spool, or no longer does."""


def result_code(error: BaseException) -> int:
    """SQLite's primary result code of `error`; 0 if it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def spool_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's and the system's errors inside the block into a `SpoolError` about `path`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        code = sqlite3.SQLITE_READONLY if isinstance(error, PermissionError) else result_code(error)
        reason = _MESSAGES.get(code) or getattr(error, "strerror", None) or str(error)
        raise SpoolError(f"spool {path}: {reason}") from error


class FileLock:
    """A lock between processes (flock) on a file; the system releases it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def acquire(self) -> bool:
        """Acquire the lock exclusively without waiting; return whether that succeeded."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Acquire the lock shared; waits for an exclusive holder."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock for good; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class DiskReserve:
    """A file of zeros that keeps disk space back, so that a spool on a full disk can still be drained.

    To delete rows SQLite must first write to its journal, which a full disk does not allow.
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
                    return  # the spool itself needs this space; the next checkpoint tries again
                self._path.write_bytes(bytes(self._size_bytes))
            self._is_kept = True
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Delete the file, which frees the space."""
        self._is_kept = False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def sidecar_path(path: Path, suffix: str) -> Path:
    """The file next to the spool at `path` that has the spool's name and `suffix`."""
    return path.with_name(path.name + suffix)


def connect(path: Path, *, fsync_always: bool = False) -> sqlite3.Connection:
    """Open a connection: autocommit, no automatic checkpoints, usable from any thread under a lock."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute(f"PRAGMA synchronous={'FULL' if fsync_always else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=0").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path, lock: FileLock) -> None:
    """Check the file, create its tables, and share `lock`. A damaged file is set aside first, and the log says where.

    Only an exclusive holder of the lock sets a file aside, because the records that another process appends would go
    with it.

    Raises:
        SpoolError: the file cannot be used.
    """
    is_exclusive = lock.acquire()
    if not is_exclusive:
        lock.share()
    try:
        _check(path)
    except _Damaged as error:
        if not is_exclusive:
            raise SpoolError(
                f"spool {path} is damaged ({error}) and open in another process; stop every process that uses it, then"
                " start the service"
            ) from error
        _log.error("the spool was damaged: moved it to %s and created a new one", _set_aside(path))
        _check(path)
    finally:
        lock.share()


def _check(path: Path) -> None:
    try:
        with closing(connect(path)) as connection:
            found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
            if not found:
                _create_tables(connection)
            elif not found.keys() >= _TABLES.keys():
                raise SpoolError(
                    f"{path} is not a spool of this version of Leeway; set LEEWAY_SPOOL to another path, or delete it"
                )
            elif any(found[name] != f"CREATE TABLE {name} ({columns})" for name, columns in _TABLES.items()):
                raise _Damaged("its tables have other columns")
            (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if result_code(error) in _DAMAGE:
            raise _Damaged(str(error)) from error
        raise
    if finding != "ok":
        raise _Damaged(str(finding).splitlines()[0])


def _create_tables(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for name, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")


def _set_aside(path: Path) -> Path:
    aside = sidecar_path(path, f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            sidecar_path(path, suffix).rename(sidecar_path(aside, suffix))
    return aside


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all of the block's changes, or none."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def run_checkpoint(connection: sqlite3.Connection, mode: str) -> int:
    """Checkpoint without waiting for other connections; return how many pages the journal held before."""
    connection.execute("PRAGMA busy_timeout=0").fetchone()
    try:
        _, frames, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}").fetchone()
    return int(frames)
