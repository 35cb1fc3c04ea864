from __future__ import annotations

from pathlib import Path

import yaml

from observability.grafana.generate.__main__ import main
from observability.grafana.generate.files import FOLDER, texts
from tests.config.boards import Document
from tests.config.dashboards.provisioned import EACH_BOARD, PROVISIONING


def test_the_files_are_what_the_code_makes() -> None:
    """The committed dashboards are those that `make dashboards` writes, and there are no others."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert texts() == committed


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    """The generator's command writes what it makes into a folder."""
    assert main(tmp_path) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == texts()


@EACH_BOARD
def test_boards_cannot_be_edited(board: Document) -> None:
    """What is generated is not edited by hand, in Grafana neither."""
    assert board["editable"] is False


def test_grafana_shows_the_files_and_changes_nothing() -> None:
    """The boards are read from files into the folder Leeway, and cannot be saved over."""
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "leeway.yaml").read_text())["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("Leeway", "leeway")
    assert provider["allowUiUpdates"] is False
