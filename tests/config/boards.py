"""The committed dashboards as documents, for whoever checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from observability.grafana.generate.files import FOLDER

Document = dict[str, Any]
BOARDS: Final[dict[str, Document]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Document) -> list[Document]:
    """The panels of a board, headings left out."""
    return [each for each in board["panels"] if each["type"] != "row"]


def values_of(document: object, key: str) -> Iterator[Any]:
    """Every value that stands under this key, however deep."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from values_of(value, key)
    elif isinstance(document, list):
        for each in document:
            yield from values_of(each, key)


def queries(board: Document) -> list[str]:
    """What a board asks Prometheus: by its panels, its annotations and its variables."""
    labels = (each["query"] for each in board["templating"]["list"] if each["type"] == "query")
    asked = [re.fullmatch(r"label_values\((\w+), (\w+)\)", query) for query in labels]
    return [*values_of(board, "expr"), *(f"sum by ({match[2]}) ({match[1]})" for match in asked if match)]


@dataclass(frozen=True)
class Asked:
    """One question of a panel to Prometheus, with Grafana's variables still in it; `instant` asks for one moment."""

    board: str
    panel: str
    legend: str
    query: str
    instant: bool


def asked() -> list[Asked]:
    """What all panels of all boards ask."""
    return [
        Asked(name, panel["title"], target["legendFormat"], target["expr"], target["instant"])
        for name, board in BOARDS.items()
        for panel in panels(board)
        for target in panel["targets"]
    ]
