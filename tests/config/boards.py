"""The committed dashboards and data sources as documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import yaml

from observability.grafana.generate.__main__ import DASHBOARDS, FOLDER, RUNBOOK

Document = dict[str, Any]


def _documents(kind: str) -> dict[str, Document]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / kind).glob("*.json"))}


BOARDS: Final = _documents(DASHBOARDS)
RUNBOOK_PAGES: Final = _documents(RUNBOOK)


def parts(board: Document) -> list[Document]:
    """The headings and panels of a dashboard, including those in collapsed rows."""
    return [part for each in board["panels"] for part in (each, *each.get("panels", []))]


def panels(board: Document) -> list[Document]:
    """The panels of a dashboard, without headings and texts."""
    return [each for each in parts(board) if each["type"] not in {"row", "text"}]


def panel_of(board: str, title: str) -> Document:
    """The panel of a dashboard whose title starts like this."""
    (found,) = [each for each in panels(BOARDS[board]) if each["title"].startswith(title)]
    return found


def values_of(document: object, key: str) -> Iterator[Any]:
    """All values of this key at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from values_of(value, key)
    elif isinstance(document, list):
        for each in document:
            yield from values_of(each, key)


def queries(board: Document) -> list[str]:
    """The queries of a dashboard: of its panels, annotations and variables."""
    labels = (each["query"] for each in board["templating"]["list"] if each["type"] == "query")
    asked = [re.fullmatch(r"label_values\((\w+), (\w+)\)", query) for query in labels]
    return [*values_of(board, "expr"), *(f"sum by ({match[2]}) ({match[1]})" for match in asked if match)]


@dataclass(frozen=True)
class Asked:
    """A query of a panel, with Grafana's variables in it; `instant` is for the current value only."""

    board: str
    panel: str
    legend: str
    query: str
    instant: bool


def asked() -> list[Asked]:
    """The queries of all panels of all dashboards."""
    return [
        Asked(name, panel["title"], target["legendFormat"], target["expr"], target["instant"])
        for name, board in BOARDS.items()
        for panel in panels(board)
        for target in panel["targets"]
        if "expr" in target
    ]


PROVISIONING: Final = FOLDER / "provisioning"

EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
ALL_BOARDS: Final = BOARDS | RUNBOOK_PAGES
EVERY_BOARD = pytest.mark.parametrize("board", ALL_BOARDS.values(), ids=ALL_BOARDS.keys())
"""The dashboards and the runbook's pages."""

EACH_PANEL = pytest.mark.parametrize(
    "panel",
    [panel for board in BOARDS.values() for panel in panels(board)],
    ids=[f"{name}: {panel['title']}" for name, board in BOARDS.items() for panel in panels(board)],
)


def source(uid: str) -> Document:
    """A provisioned data source, as Grafana reads it: with single dollar signs."""
    document = yaml.safe_load((PROVISIONING / "datasources" / "leeway.yaml").read_text().replace("$$", "$"))
    (found,) = [each for each in document["datasources"] if each["uid"] == uid]
    return dict(found)
