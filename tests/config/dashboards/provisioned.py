"""What Grafana is given, each board and each panel to be tested alone, and the data sources."""

from __future__ import annotations

from typing import Final

import pytest
import yaml

from observability.grafana.generate.files import FOLDER
from tests.config.boards import BOARDS, Document, panels

PROVISIONING: Final = FOLDER.parent / "provisioning"

EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())

EACH_PANEL = pytest.mark.parametrize(
    "panel",
    [panel for board in BOARDS.values() for panel in panels(board)],
    ids=[f"{name}: {panel['title']}" for name, board in BOARDS.items() for panel in panels(board)],
)


def source(uid: str) -> Document:
    """One of the provisioned data sources, as Grafana reads it: two dollar signs are one."""
    document = yaml.safe_load((PROVISIONING / "datasources" / "leeway.yaml").read_text().replace("$$", "$"))
    (found,) = [each for each in document["datasources"] if each["uid"] == uid]
    return dict(found)
