"""The file of API keys: making, listing, revoking, reading again, and checking a key against it."""

from __future__ import annotations

import hmac
import json
import logging
import os
import stat
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leeway import keys
from leeway.keys import KeyRing, KeysError, Scope, add_key, key_in, read_keys, revoke_key

BASIC = b"Basic " + b64encode(b"anybody:lw_1_a")


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be."""
    return tmp_path / "var" / "keys.json"


def test_a_new_key_is_known(path: Path) -> None:
    """By the ring, with name and scopes; the file has the id and no secret, and only its owner can read it."""
    key = add_key(path, "shop", [Scope.PREDICT, Scope.FEEDBACK])
    assert KeyRing(path).find(key.encode()) == ("shop", frozenset({Scope.PREDICT, Scope.FEEDBACK}))
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, read_keys(path)[0].id, len(secret)) == ("lw", key_id, 43)  # 256 bits
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_keys_differ_in_everything(path: Path) -> None:
    """Id, salt and hash; a key of one does not fit the id of the other."""
    first, second = add_key(path, "a", []), add_key(path, "b", [])
    found = read_keys(path)
    assert all(getattr(found[0], name) != getattr(found[1], name) for name in ("id", "salt", "sha256"))
    mixed = "_".join([*first.split("_", 2)[:2], second.split("_", 2)[2]])
    assert KeyRing(path).find(mixed.encode()) is None


@pytest.mark.parametrize(
    "wrong", ["", "lw_", "lw", "lw__", "lw_000000000000_x", "{key}x", "{key}"[:-1], "xx{key}", "é"]
)
def test_any_other_key_is_unknown(path: Path, wrong: str) -> None:
    """Whatever its form."""
    key = add_key(path, "shop", list(Scope))
    assert KeyRing(path).find(wrong.replace("{key}", key).encode()) is None


def test_a_known_and_an_unknown_id_are_compared_alike(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with one hash of a salt and one comparison in constant time."""
    key = add_key(path, "shop", list(Scope))
    compared: list[tuple[int, int]] = []

    def noted(first: bytes, second: bytes) -> bool:
        compared.append((len(first), len(second)))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr(keys, "compare_digest", noted)
    ring = KeyRing(path)
    for each in (key, f"{key}x", "lw_000000000000_x", "nonsense"):
        ring.find(each.encode())
    assert compared == [(32, 32)] * 4


@pytest.mark.parametrize(("key", "comparisons"), [("{key}", 1), ("{key}x", 3), ("lw_000000000000_x", 3)])
def test_only_a_verified_key_is_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch, key: str, comparisons: int
) -> None:
    """Its next use costs no comparison; a wrong key takes up no memory, and neither is kept in memory itself."""
    sent = key.replace("{key}", add_key(path, "shop", list(Scope)))
    compared: list[bytes] = []

    def noted(first: bytes, second: bytes) -> bool:
        compared.append(first)
        return hmac.compare_digest(first, second)

    monkeypatch.setattr(keys, "compare_digest", noted)
    ring = KeyRing(path)
    assert len({ring.find(sent.encode()) for _ in range(3)}) == 1
    assert len(compared) == comparisons
    assert len(ring._verified) == (comparisons == 1)
    assert sent not in repr(vars(ring))


def test_a_revoked_key_is_unknown(path: Path) -> None:
    """The others stay, and so does the file's mode."""
    first, second = add_key(path, "a", []), add_key(path, "b", [])
    path.chmod(0o640)
    revoke_key(path, "a")
    ring = KeyRing(path)
    assert (ring.find(first.encode()), ring.find(second.encode())) == (None, ("b", frozenset()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_keys_that_are_added_at_once_are_all_kept(path: Path) -> None:
    """Each change waits for the one before."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_key(path, f"key-{number}", []), range(20)))
    assert len(read_keys(path)) == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: add_key(path, "a", []), "already has a key 'a'"),
        (lambda path: add_key(path, "two words", []), "not a valid name"),
        (lambda path: add_key(path, "", []), "not a valid name"),
        (lambda path: add_key(path, "x" * 64, []), "not a valid name"),
        (lambda path: revoke_key(path, "c"), "no key 'c'; it has: a, b"),
        (lambda path: add_key(path / "below", "c", []), "below: "),
    ],
)
def test_an_impossible_change_is_an_error(path: Path, change: Callable[[Path], object], message: str) -> None:
    """It leaves the file as it was."""
    for name in ("a", "b"):
        add_key(path, name, [])
    before = path.read_bytes()
    with pytest.raises(KeysError, match=message):
        change(path)
    assert (path.read_bytes(), list(path.parent.iterdir())) == (before, [path])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"keys": [{}]}', '{"keys": "x"}', "\xff", None])
def test_a_broken_file_is_an_error_at_start(path: Path, content: str | None) -> None:
    """The message names the variable, the file, and what makes one."""
    path.parent.mkdir()
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(KeysError, match=r"LEEWAY_API_KEYS_FILE: .*keys\.json.*`leeway keys add` makes one"):
        KeyRing(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_only_a_regular_file_is_read(path: Path, make: Callable[[Path], object]) -> None:
    """A pipe would be waited for, and a device has no end."""
    path.parent.mkdir()
    make(path)
    with pytest.raises(KeysError, match=r"keys\.json is not a file of keys: it is a folder, a pipe or a device"):
        read_keys(path)


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    """A thousand keys take less than half of the limit."""
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1_000_001)
    with pytest.raises(KeysError, match="it has 1,000,001 bytes, more than 1,000,000"):
        read_keys(path)


@pytest.mark.parametrize("same", ["id", "name"])
def test_keys_with_the_same_id_or_name_are_an_error(path: Path, same: str) -> None:
    """One could be revoked and the other not."""
    add_key(path, "a", [])
    add_key(path, "b", [])
    document = json.loads(path.read_text())
    document["keys"][1][same] = document["keys"][0][same]
    path.write_text(json.dumps(document))
    with pytest.raises(KeysError, match=f"two keys have the same {same}"):
        read_keys(path)


def test_the_file_is_read_again(path: Path) -> None:
    """Within a second of a change, and not at every request."""
    clock = Clock()
    add_key(path, "a", [])
    ring = KeyRing(path, clock)
    key = add_key(path, "b", []).encode()
    assert (ring.find(key), ring.version) == (None, 0)
    clock.now_s = 1.0
    assert (ring.find(key), ring.version) == (("b", frozenset()), 1)


def test_a_verified_key_is_forgotten_when_it_is_revoked(path: Path) -> None:
    """As soon as the file is read again; so is a scope that it no longer has."""
    clock = Clock()
    revoked, narrowed = add_key(path, "a", [Scope.PREDICT]).encode(), add_key(path, "b", list(Scope)).encode()
    ring = KeyRing(path, clock)
    assert None not in (ring.find(revoked), ring.find(narrowed))
    revoke_key(path, "a")
    document = json.loads(path.read_text())
    document["keys"][0]["scopes"] = ["feedback"]
    path.write_text(json.dumps(document))
    clock.now_s = 1.0
    assert (ring.find(revoked), ring.find(narrowed)) == (None, ("b", frozenset({Scope.FEEDBACK})))


@pytest.mark.parametrize("break_it", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_file_that_breaks_leaves_the_keys(
    path: Path, break_it: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and a mended file is read."""
    clock = Clock()
    key = add_key(path, "a", []).encode()
    ring = KeyRing(path, clock)
    whole = path.read_bytes()
    break_it(path)
    with caplog.at_level(logging.INFO, "leeway.keys"):
        for now_s in (1.0, 2.0, 3.0):
            clock.now_s = now_s
            assert ring.find(key) == ("a", frozenset())
        path.write_bytes(whole)
        clock.now_s = 4.0
        assert ring.find(key) == ("a", frozenset())
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.messages[0].startswith(f"the API keys stay as they were: {path}")


@pytest.mark.parametrize(
    ("headers", "is_page", "key"),
    [
        ([], False, None),
        ([(b"authorization", b"Bearer lw_1_a")], False, b"lw_1_a"),
        ([(b"authorization", b"bearer   lw_1_a ")], False, b"lw_1_a"),
        ([(b"x-api-key", b" lw_1_a")], False, b"lw_1_a"),
        ([(b"x-api-key", b"lw_1_a"), (b"authorization", b"Bearer lw_1_a")], False, b"lw_1_a"),
        ([(b"x-api-key", b"lw_1_a"), (b"authorization", b"Bearer lw_1_b")], False, None),
        ([(b"x-api-key", b"lw_1_a"), (b"x-api-key", b"lw_1_b")], False, None),
        ([(b"authorization", b"Digest x")], False, None),
        ([(b"authorization", BASIC)], False, None),
        ([(b"authorization", BASIC)], True, b"lw_1_a"),
        ([(b"authorization", b"Basic %%%")], True, b""),
        ([(b"x-forwarded-for", b"lw_1_a")], True, None),
    ],
)
def test_where_a_key_is_looked_for(headers: list[tuple[bytes, bytes]], is_page: bool, key: bytes | None) -> None:  # noqa: FBT001 (a parameter of the test)
    """In two headers, and as HTTP Basic's password where a browser asks for a page."""
    assert key_in(headers, is_page=is_page) == key
