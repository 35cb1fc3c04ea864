"""The spool's file and the files beside it: opened, checked, set aside where it is damaged, locked between processes.

Beside `spool.db` SQLite keeps `spool.db-wal` (its journal) and `spool.db-shm`. We add `spool.db.lock` (who has it
open), `spool.db.mover` (who may move) and `spool.db.reserve` (see `Reserve`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

CACHED_STATEMENTS = 16
"""An append of many records has a statement of its own for each number of them, and large ones are large in memory."""
BUSY_TIMEOUT_S = 1.0

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, schema TEXT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS schemas (fingerprint TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY, refused_at TEXT NOT NULL, reason TEXT NOT NULL, schema TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS heartbeat (id INTEGER PRIMARY KEY, ballast BLOB NOT NULL);
COMMIT;
"""
_PROBES = (
    "SELECT seq, schema, payload FROM records LIMIT 1",
    "SELECT fingerprint, document FROM schemas LIMIT 1",
    "SELECT id, refused_at, reason, schema, payload FROM refused LIMIT 1",
    "SELECT id, ballast FROM heartbeat LIMIT 1",
)
_OWN_TABLES = frozenset({"records", "schemas", "refused", "heartbeat"})
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WORDS = {
    sqlite3.SQLITE_FULL: "no room left: the disk is full, or the spool is at its limit",
    sqlite3.SQLITE_READONLY: "it may not be written; check its owner, its mode and the mount",
    sqlite3.SQLITE_PERM: "permission denied; check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder may be written",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write",
    sqlite3.SQLITE_BUSY: f"another process held it for more than {BUSY_TIMEOUT_S:g} s",
    sqlite3.SQLITE_CORRUPT: "it is damaged; it is set aside at the next start",
    sqlite3.SQLITE_NOTADB: "it is damaged; it is set aside at the next start",
}


class SpoolError(Exception):
    """The spool cannot be used; the message says why in words, and what to do where something can be done."""


class _Damaged(Exception):
    """What is in the file is not a spool (any more)."""


def result_code(error: BaseException) -> int:
    """SQLite's primary result code of `error`; 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def in_words(error: BaseException) -> str:
    """Say shortly what went wrong."""
    if isinstance(error, PermissionError):
        return _WORDS[sqlite3.SQLITE_READONLY]
    return _WORDS.get(result_code(error)) or getattr(error, "strerror", None) or str(error)


@contextmanager
def speaking_of(path: Path) -> Iterator[None]:
    """Turn a driver's error inside the block into a `SpoolError` about `path`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SpoolError(f"spool {path}: {in_words(error)}") from error


class FileLock:
    """A lock between processes (flock) on a file; the system lets go of it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def take(self) -> bool:
        """Take the lock for this holder alone, without waiting; say whether that worked."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Share the lock with others; waits for one who has it alone."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go for good; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Reserve:
    """Some disk kept back, so that a spool on a full disk can be emptied.

    To delete rows SQLite must first write to its journal; on a full disk a spool could neither be filled nor emptied.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._is_kept = False

    def keep(self) -> None:
        """Occupy the disk, where that is not done yet and there is room for it."""
        if self._is_kept:
            return
        try:
            if not self._path.exists() or self._path.stat().st_size != self._size_bytes:
                if shutil.disk_usage(self._path.parent).free < 2 * self._size_bytes:
                    return  # room for it would be taken from the spool itself: asked again at the next checkpoint
                self._path.write_bytes(bytes(self._size_bytes))
            self._is_kept = True
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Hand the disk back."""
        self._is_kept = False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def beside(path: Path, suffix: str) -> Path:
    """The file beside the spool at `path` whose name goes on with `suffix`."""
    return path.with_name(path.name + suffix)


def connect(path: Path, *, fsync_always: bool = False) -> sqlite3.Connection:
    """Open one more connection: autocommit, never checkpointing of itself, usable from any thread under a lock."""
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


def prepare(path: Path, lock: FileLock) -> Path | None:
    """Check the file, make its tables, and share `lock`; return where a damaged file was put aside, if it was.

    Only a holder who is alone sets a file aside: records that another process appends would go with it.

    Raises:
        SpoolError: the file cannot be used.
    """
    is_alone = lock.take()
    if not is_alone:
        lock.share()
    try:
        return _checked(path, is_alone=is_alone)
    finally:
        lock.share()


def _checked(path: Path, *, is_alone: bool) -> Path | None:
    try:
        _check(path)
    except _Damaged as error:
        if not is_alone:
            raise SpoolError(
                f"spool {path} is damaged ({error}) and open in another process; stop all that use it and start again"
            ) from error
    else:
        return None
    aside = _set_aside(path)
    _check(path)
    return aside


def _check(path: Path) -> None:
    try:
        with closing(connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and not tables >= _OWN_TABLES:
                raise SpoolError(f"{path} is another program's database; give LEEWAY_SPOOL a file of its own")
            if not tables:
                connection.executescript(_TABLES)
            for probe in _PROBES:
                connection.execute(probe).fetchone()
            (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if result_code(error) in _DAMAGE or "no such column" in str(error):
            raise _Damaged(str(error)) from error
        raise
    if finding != "ok":
        raise _Damaged(str(finding).splitlines()[0])


def _set_aside(path: Path) -> Path:
    aside = beside(path, f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            beside(path, suffix).rename(beside(aside, suffix))
    return aside


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block's changes, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself on some errors
            connection.execute("ROLLBACK")
        raise


def run_checkpoint(connection: sqlite3.Connection, mode: str) -> int:
    """Checkpoint without waiting for anyone, and return how many pages were in the journal before."""
    connection.execute("PRAGMA busy_timeout=0").fetchone()
    try:
        _, frames, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}").fetchone()
    return int(frames)
