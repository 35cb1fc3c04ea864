from __future__ import annotations

from pathlib import Path

import pytest

from service.spool.status import FILE_BYTES, FILE_NAME, DrainerStatus, Position, read_status, write_status

STATUS = DrainerStatus(12.5, 3, 1, {"0001-1-abc.segment": Position(100, 2)})


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Overwriting leaves nothing of the last one, and the file keeps its size."""
    write_status(tmp_path, DrainerStatus(1e9, 10**9, 10**9, dict(STATUS.positions) | {"b": Position()}))
    write_status(tmp_path, STATUS)
    assert (read_status(tmp_path), (tmp_path / FILE_NAME).stat().st_size) == (STATUS, FILE_BYTES)


def test_without_a_drainer_there_is_no_status(tmp_path: Path) -> None:
    """A missing file is no error."""
    assert read_status(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\n00000000 {}\n", b"\nc0ff1cb2 [1]\n"])
def test_a_damaged_status_is_none(tmp_path: Path, content: bytes) -> None:
    """It is not an error either: the drainer overwrites it."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_status(tmp_path) is None


def test_the_file_stays_small(tmp_path: Path) -> None:
    """Of very many segments the newest are kept; the others are only drained again."""
    many = {f"{number:020d}-4194304-9f86d081884c.segment": Position(2**30, 2**20) for number in range(100)}
    write_status(tmp_path, DrainerStatus(2e9, 10**12, 10**12, many))
    found = read_status(tmp_path)
    assert found is not None
    assert (list(found.positions), (tmp_path / FILE_NAME).stat().st_size) == (list(many)[-32:], FILE_BYTES)
