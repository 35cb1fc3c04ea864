"""A spool whose files were damaged: whatever happened to them, what is whole is kept and nothing is invented."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from leeway.store.record import PredictionRecord
from service.spool.reader import SpoolReader
from service.spool.segments import record_of, segments_in
from tests.service.spool.spools import ListWriter, dead_letters, drain, killed_while_appending, open_spool

TIMES = 125
"""How often each kind of damage is done, at random places: 500 times in all."""

Damage = Callable[[bytearray, random.Random], set[int]]
"""Damages the content of a segment; returns the places in the original that were touched."""


def cut_off(content: bytearray, chance: random.Random) -> set[int]:
    """The file ends early."""
    end = chance.randrange(len(content))
    touched = set(range(end, len(content)))
    del content[end:]
    return touched


def flip_bits(content: bytearray, chance: random.Random) -> set[int]:
    """Up to ten single bits are wrong."""
    touched = {chance.randrange(len(content)) for _ in range(chance.randint(1, 10))}
    for place in touched:
        content[place] ^= 1 << chance.randrange(8)
    return touched


def overwrite(content: bytearray, chance: random.Random) -> set[int]:
    """A part is garbage or zeros, as after a crash of the file system."""
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice([1, 100, 4_096]))
    content[start:end] = chance.randbytes(end - start) if chance.random() < 0.5 else bytes(end - start)
    return set(range(start, end))


def cut_out(content: bytearray, chance: random.Random) -> set[int]:
    """A part in the middle is missing."""
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice([1, 100, 4_096]))
    del content[start:end]
    return set(range(start, end))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """Name and content of the segment of a process that was killed while it appended."""
    path = tmp_path_factory.mktemp("killed") / "spool"
    killed_while_appending(path, after=60)
    (segment,) = segments_in(path)
    return segment.name, segment.path.read_bytes()


def places(content: bytes) -> list[tuple[int, int, PredictionRecord]]:
    """Where each record begins and ends, with its newlines."""
    found, end = [], 0
    for line in content.split(b"\n"):
        start, end = end, end + len(line) + 1
        if line and (record := record_of(line)) is not None:
            found.append((start - 1, end, record))
    return found


@pytest.mark.parametrize("damage", [cut_off, flip_bits, overwrite, cut_out])
def test_what_is_whole_is_kept(killed: tuple[str, bytes], tmp_path: Path, damage: Damage) -> None:
    """Every record without a touched byte is read, in order, no other one, and never with an error."""
    name, content = killed
    records = places(content)
    with open_spool(tmp_path):
        pass
    for time in range(TIMES):
        changed = bytearray(content)
        touched = damage(changed, random.Random(time))  # noqa: S311 (repeatable damage)
        (tmp_path / f"{time}-{name}").write_bytes(changed)
        reader, found = SpoolReader(tmp_path), []
        while batch := reader.take(25):
            found += batch.records
            reader.ack(batch)
        whole = [record for start, end, record in records if touched.isdisjoint(range(start, end))]
        originals = [record for _, _, record in records]
        assert [record for record in found if record in whole] == whole, f"seed {time}"
        assert all(record in originals for record in found), f"seed {time}"
        assert segments_in(tmp_path) == []


def test_a_drainer_sets_damage_aside_and_goes_on(killed: tuple[str, bytes], tmp_path: Path) -> None:
    """The damaged record is a dead letter with its reason; the others are stored."""
    name, content = killed
    records = places(content)
    changed = bytearray(content)
    changed[records[7][0] + 50] ^= 1
    database = ListWriter()
    with open_spool(tmp_path) as spool:
        (tmp_path / name).write_bytes(changed)
        events = drain(spool, database.write)
    assert database.stored == [record for place, (_, _, record) in enumerate(records) if place != 7]
    assert events.total("dead_lettered") == 1
    assert [letter["reason"] for letter in dead_letters(tmp_path)][:1] == ["damaged record"]
