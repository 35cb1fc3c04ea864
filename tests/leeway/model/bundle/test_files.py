from __future__ import annotations

from pathlib import Path

import pytest

from leeway.model import bundle as bundles
from leeway.model.bundle import BundleDamaged, BundleMissing, BundleVersionUnknown
from leeway.model.manifest import MANIFEST, ONNX
from tests.leeway.model.bundles import FILES, error_of


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("file", FILES[1:])
def test_a_changed_byte_is_found(folder: Path, file: str, place: str) -> None:
    """One changed byte, wherever in whichever file, is damage, and the file is named."""
    content = bytearray((folder / file).read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    (folder / file).write_bytes(content)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert file in str(error)


def test_a_changed_byte_of_the_manifest_is_found(folder: Path) -> None:
    """No byte of the manifest can change unseen: whatever it says, it says with its digest."""
    content = (folder / MANIFEST).read_bytes()
    for place in range(0, len(content), 97):
        if not content[place : place + 1].isspace():
            (folder / MANIFEST).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert isinstance(error_of(folder), BundleDamaged | BundleVersionUnknown)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_said(folder: Path, file: str) -> None:
    """A file that is gone is missing, and named."""
    (folder / file).unlink()
    error = error_of(folder)
    assert isinstance(error, BundleMissing)
    assert file in str(error)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    """Where there is no bundle at all the message says how to come by one."""
    with pytest.raises(BundleMissing, match=r"leeway train.*LEEWAY_BUNDLE"):
        bundles.load(tmp_path / "nowhere")


def test_a_file_in_the_folders_place_is_no_bundle(tmp_path: Path) -> None:
    """A file where a folder should be is a missing bundle, not a traceback."""
    (tmp_path / "bundle").write_text("")
    assert isinstance(error_of(tmp_path / "bundle"), BundleMissing)


def test_a_truncated_file_is_found(folder: Path) -> None:
    """A file cut off is damage."""
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes()[:100])
    assert isinstance(error_of(folder), BundleDamaged)


def test_a_folder_in_a_files_place_is_found(folder: Path) -> None:
    """A folder where a file should be is a missing file."""
    (folder / ONNX).unlink()
    (folder / ONNX).mkdir()
    assert isinstance(error_of(folder), BundleMissing)
