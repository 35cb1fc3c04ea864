"""API keys: a file with their names, scopes and salted hashes, and the check of a key against it.

A key is `lw_<id>_<secret>`. The file, JSON, holds no secret: it can be read, but not used as a key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import stat
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b, sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct


class Scope(StrEnum):
    """What a key allows."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    OPERATE = "operate"
    """The model's card, metrics, docs, faults, and drift reports."""


MAX_KEYS: Final = 1_000
_MAX_BYTES: Final = 1_000 * MAX_KEYS
CHECK_S: Final = 1.0
CHALLENGE: Final = 'Basic realm="leeway (any name, the API key as password)", charset="UTF-8"'
"""Makes a browser ask for a key."""
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_SECRET_BYTES: Final = 32
_log = logging.getLogger(__name__)


class KeysError(ValueError):
    """The file of keys cannot be used or changed; the message says why."""


class Key(Struct, frozen=True):
    """One key: its name, its scopes, and the SHA-256 of salt and secret."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]
    name: Annotated[str, Meta(pattern=_NAME)]
    scopes: frozenset[Scope]
    salt: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    created: datetime


class _Document(Struct):
    """The file."""

    keys: Annotated[list[Key], Meta(max_length=MAX_KEYS)] = []


def read_keys(path: Path) -> list[Key]:
    """The keys in a file.

    Raises:
        KeysError: it cannot be read, or is not a file of keys.
    """
    try:
        keys = msgspec.json.decode(_content(path), type=_Document).keys
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysError(f"{path} is not a file of keys: {error}") from error
    for what, values in (("id", [key.id for key in keys]), ("name", [key.name for key in keys])):
        if len(set(values)) < len(values):
            raise KeysError(f"{path} is not a file of keys: two keys have the same {what}")
    return keys


def _content(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read.
        KeysError: reading it could block, or take up the memory.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise KeysError(f"{path} is not a file of keys: it is a folder, a pipe or a device")
    if found.st_size > _MAX_BYTES:
        raise KeysError(f"{path} is not a file of keys: it has {found.st_size:,} bytes, more than {_MAX_BYTES:,}")
    return path.read_bytes()


def add_key(path: Path, name: str, scopes: Iterable[Scope]) -> str:
    """Add a key to a file, which is created if it is missing; return the key, which is stored nowhere.

    Raises:
        KeysError: the name is invalid or taken, or the file cannot be used.
    """
    if not re.fullmatch(_NAME, name):
        raise KeysError(f"{name!r} is not a valid name: use up to 63 letters, digits, dots, hyphens and underscores")
    key_id, salt, secret = secrets.token_hex(6), secrets.token_bytes(16), secrets.token_urlsafe(_SECRET_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    key = Key(key_id, name, frozenset(scopes), salt.hex(), _hash(salt, secret.encode()).hex(), now)
    with _changing(path) as keys:
        if name in {each.name for each in keys}:
            raise KeysError(f"{path} already has a key {name!r}: choose another name, or revoke that key first")
        keys.append(key)
    return f"lw_{key_id}_{secret}"


def revoke_key(path: Path, name: str) -> None:
    """Remove the key of this name from a file.

    Raises:
        KeysError: there is none, or the file cannot be used.
    """
    with _changing(path) as keys:
        found = [key for key in keys if key.name == name]
        if not found:
            known = ", ".join(sorted(key.name for key in keys)) or "none"
            raise KeysError(f"{path} has no key {name!r}; it has: {known}")
        keys.remove(found[0])


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """Yield the keys of a file to change, and then replace it. Only the owner can read a new file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            exists = path.exists()
            keys = read_keys(path) if exists else []
            yield keys
            new = path.with_name(f".{path.name}.{os.getpid()}")
            new.touch()
            new.chmod(stat.S_IMODE(path.stat().st_mode) if exists else 0o600)
            new.write_bytes(msgspec.json.format(msgspec.json.encode(_Document(keys), order="deterministic")) + b"\n")
            new.replace(path)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error


def _hash(salt: bytes, secret: bytes) -> bytes:
    return sha256(salt + secret).digest()


# --- checking ---------------------------------------------------------------------------------------------------------


class _Known(Struct, frozen=True, gc=False):
    """The parts of a key that a check needs."""

    name: str
    scopes: frozenset[Scope]
    salt: bytes
    sha256: bytes


_NOBODY: Final = _Known("", frozenset(), bytes(16), bytes(32))
Found: TypeAlias = tuple[str, frozenset[Scope]]
"""The name and the scopes of a key."""


class KeyRing:
    """The keys of a file, which is read again within a second of a change. A broken file leaves the keys as they were.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "keys.json"
    ...     key = add_key(path, "shop", [Scope.PREDICT])
    ...     ring = KeyRing(path)
    >>> ring.find(key.encode())
    ('shop', frozenset({<Scope.PREDICT: 'predict'>}))
    >>> ring.find(b"lw_000000000000_guess") is None
    True
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            KeysError: it cannot be read, or is not a file of keys.
        """
        self._path = path
        self._clock_s = clock_s
        self._seen = _state(path)
        try:
            self._known = _by_id(read_keys(path))
        except KeysError as error:
            raise KeysError(f"LEEWAY_API_KEYS_FILE: {error}; `leeway keys add` makes one") from error
        self._check_at_s = clock_s() + CHECK_S
        self._pepper = secrets.token_bytes(32)
        self._verified: dict[bytes, Found] = {}
        self.version = 0
        """How often the keys have changed."""

    def find(self, key: bytes) -> Found | None:
        """The name and the scopes of a key; None if the file does not have it.

        A key that was verified since the file was read is recognized by its hash with a random value of this process,
        which is cheaper than to verify it again, and keeps no key in memory. The time that this takes does not depend
        on how much of a wrong key is right.
        """
        self.refresh()
        verified = self._verified  # before `_known` is read: what an older file allowed must not get into a newer dict
        digest = blake2b(self._pepper + key).digest()
        if (found := verified.get(digest)) is None and (found := self._verify(key)) is not None:
            verified[digest] = found
        return found

    def _verify(self, key: bytes) -> Found | None:
        head, _, secret = key[3:].partition(b"_")
        known = self._known.get(head, _NOBODY) if key.startswith(b"lw_") else _NOBODY
        if compare_digest(sha256(known.salt + secret).digest(), known.sha256) and known is not _NOBODY:
            return known.name, known.scopes
        return None

    def refresh(self) -> None:
        """Read the file again if it has changed; this is checked once a second."""
        now_s = self._clock_s()
        if now_s < self._check_at_s:
            return
        self._check_at_s = now_s + CHECK_S
        if (state := _state(self._path)) == self._seen:
            return
        self._seen = state
        try:
            self._known = _by_id(read_keys(self._path))
        except KeysError as error:
            _log.error("the API keys stay as they were: %s", error)
        else:
            self._verified = {}
            self.version += 1
            _log.info("read %d API keys again from %s", len(self._known), self._path)


def _by_id(keys: Iterable[Key]) -> dict[bytes, _Known]:
    return {
        key.id.encode(): _Known(key.name, key.scopes, bytes.fromhex(key.salt), bytes.fromhex(key.sha256))
        for key in keys
    }


def _state(path: Path) -> tuple[int, ...] | None:
    """Values that change with the file; None if it cannot be accessed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def key_in(headers: Iterable[tuple[bytes, bytes]], *, is_page: bool = False) -> bytes | None:
    """The key of a request, from its headers with lower-case names; None if it has none, or two different ones.

    It is in `Authorization: Bearer` or in `X-API-Key`. For a page, HTTP Basic works, too, which browsers support: the
    password is the key.
    """
    found = None
    for name, value in headers:
        if name == b"x-api-key":
            key = value.strip()
        elif name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            scheme = scheme.lower()
            if scheme == b"bearer":
                key = rest.strip()
            elif is_page and scheme == b"basic":
                key = _password(rest)
            else:
                continue
        else:
            continue
        if found is not None and found != key:
            return None
        found = key
    return found


def _password(credentials: bytes) -> bytes:
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""
