from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from sklearn.preprocessing import SplineTransformer

from leeway.model import bundle as bundles
from leeway.model import writer
from leeway.model.bundle import Bundle, BundleError
from leeway.model.manifest import CARD, ONNX
from tests.leeway.model.bundles import copy_of, files_of, fitted, small_bundle


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A logistic regression on two numbers and a category."""
    return small_bundle(tmp_path_factory.mktemp("small") / "bundle")


def test_a_new_bundle_takes_the_old_ones_place(small: Bundle, tmp_path: Path) -> None:
    """Writing again replaces the bundle whole, with no file of the old one's, and leaves nothing beside it."""
    folder = copy_of(small, tmp_path)
    new = small_bundle(folder, fitted(numbers=SplineTransformer()))
    assert bundles.load(folder).version == new.version != small.version
    assert not (folder / ONNX).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_bundle(small: Bundle, tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever stops the writing, the old bundle is whole as before, and nothing is left over."""
    folder = copy_of(small, tmp_path)
    before = files_of(folder)

    def write_half() -> None:
        with writer.replacing(folder) as new:
            (new / CARD).write_text("half a ca")
            raise error

    with pytest.raises((error, BundleError)):
        write_half()
    assert files_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert bundles.load(folder).version == small.version


def test_a_failed_rename_brings_the_old_bundle_back(small: Bundle, tmp_path: Path) -> None:
    """Where the second of the two renames fails, the first is taken back."""
    folder = copy_of(small, tmp_path)
    before = files_of(folder)
    with pytest.raises(BundleError, match="cannot be written"), writer.replacing(folder) as new:
        new.rmdir()  # so that there is nothing to put in the old one's place
    assert files_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    """What a writer that was killed left beside the bundle goes with the next write, once it is old enough."""
    for name, age_s in {"old": writer.STALE_S + 60, "young": 1}.items():
        left = tmp_path / f".bundle.new-{name}"
        (left / "new").mkdir(parents=True)
        os.utime(left, (time.time() - age_s, time.time() - age_s))
    with writer.replacing(tmp_path / "bundle"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bundle.new-young", "bundle"]


def write_nothing(folder: Path) -> None:
    """Put a new folder with nothing in it in the place of `folder`."""
    with writer.replacing(folder):
        pass


@pytest.mark.parametrize("foreign", ["thesis.txt", ".git", "model.onnx.bak"])
def test_a_folder_with_other_things_is_never_replaced(tmp_path: Path, foreign: str) -> None:
    """A folder that holds anything else than a bundle is refused, and stays as it is."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / foreign).write_text("dear")
    with pytest.raises(BundleError, match=re.escape(foreign)):
        write_nothing(tmp_path / "home")
    assert files_of(tmp_path / "home") == {foreign: b"dear"}


def test_a_file_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    """A file where the bundle should go is refused, and stays."""
    (tmp_path / "bundle").write_text("dear")
    with pytest.raises(BundleError, match="a file"):
        write_nothing(tmp_path / "bundle")
    assert (tmp_path / "bundle").read_text() == "dear"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where the folder cannot be made, the error says so in plain words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        write_nothing(tmp_path / "file" / "bundle")


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Where the folder is a link, what it points to is replaced, and the link stays."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with writer.replacing(tmp_path / "link") as new:
        (new / CARD).write_text("{}")
    assert (tmp_path / "link").is_symlink()
    assert files_of(tmp_path / "real") == {CARD: b"{}"}
