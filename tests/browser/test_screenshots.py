"""`make screenshots`, the command that takes the pictures of docs/img."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from docs.screenshots import SCALE, SHOTS, WIDTH, main, pages_of, take
from drift.report.folder import ReportFolder


@pytest.fixture(scope="module")
def demo(folder: ReportFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's folder: its page and the drift worker's reports."""
    made = tmp_path_factory.mktemp("played") / "demo"
    shutil.copytree(folder.path, made / "reports")
    (made / "index.html").write_text("<title>The demo</title><h1>The demo</h1>", encoding="utf-8")
    return made


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_every_picture_is_taken(browser: Browser, demo: Path, tmp_path: Path) -> None:
    """Each picture exists, in its specified size."""
    take(browser, pages_of(demo), tmp_path)
    sizes = {path.stem: size_of(path) for path in tmp_path.iterdir()}
    assert sizes == {each.name: (round(WIDTH * SCALE), round(each.height * SCALE)) for each in SHOTS}


def test_a_folder_without_a_demo_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without the demo's page ends the command with exit code 2 and what to do."""
    with pytest.raises(SystemExit) as ended:
        main(["--demo", str(tmp_path), "--images", str(tmp_path / "img")])
    assert ended.value.code == 2
    assert "run `leeway demo` to the end" in capsys.readouterr().err
