"""A page for each alert: its section of docs/runbook.md, and its queries as panels.

A page's uid has the name of its alert, so that a point in a panel of alerts and the alert itself can link to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate import links
from observability.grafana.generate.board import Panel, Row, board, explanation
from observability.grafana.generate.panels import COUNT, Query, lines

FILE: Final = Path(__file__).parents[3] / "docs" / "runbook.md"
OBJECTIVES: Final = "The objectives"
"""The section that belongs to no alert."""
_SECTION: Final = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_QUERIES: Final = re.compile(r"```promql\n(.*?)```\n*", re.DOTALL)


def pages() -> dict[str, models.Dashboard]:
    """The page of each alert by the alert's name."""
    return {alert: _page(alert, text.strip()) for alert, text in sections().items()}


def sections() -> dict[str, str]:
    """The sections of the runbook by alert."""
    found = dict(_SECTION.findall(FILE.read_text(encoding="utf-8")))
    return {title: text for title, text in found.items() if title != OBJECTIVES}


def _page(alert: str, text: str) -> models.Dashboard:
    queries = [query for block in _QUERIES.findall(text) for query in block.splitlines()]
    width = 24 // len(queries)
    return board(
        f"{links.RUNBOOK}{alert}",
        f"Runbook: {alert}",
        f"What the alert {alert} means, what to look at, what to do.",
        [Row(13, [(24, explanation(alert, _in_grafana(text)))]), Row(9, [(width, each) for each in _panels(queries)])],
    )


def _panels(queries: list[str]) -> Iterator[Panel]:
    for number, query in enumerate(queries, start=1):
        yield lines(
            f"Query {number}",
            f"`{query}`.",
            COUNT,
            Query(query),
            floor=None,
            absent="nothing found",
            links=[links.TO_ALERTS],
        )


def _in_grafana(text: str) -> str:
    """The section with its links as they work in Grafana: to other pages; an address of this machine is a text."""
    text = re.sub(r"\]\(#(\w+)\)", lambda link: f"](/d/{links.RUNBOOK}{_alert(link[1])})", text)
    return re.sub(r"\[([^]]+)\]\(http://127\.0\.0\.1[^)]*\)", r"\1", text)


def _alert(anchor: str) -> str:
    (found,) = [alert for alert in sections() if alert.lower() == anchor]
    return found
