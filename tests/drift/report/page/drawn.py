"""Runs to be drawn, and drawings and pages taken apart again, for the tests of the pages."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from drift.report.page.axis import TimeAxis
from drift.result import RunResult, read_result
from tests.drift.documents import NOON

HOSTILE = '"><script>alert(1)</script>'
HOUR = TimeAxis(NOON, NOON + timedelta(hours=1))


def summaries(*documents: dict[str, Any]) -> list[RunResult]:
    """The runs of these documents, newest first, as `ReportFolder.runs` has them."""
    return sorted(map(read_result, documents), key=lambda run: run.time, reverse=True)


def parse(svg: Markup) -> ET.Element:
    """The drawing as a tree: it is well-formed."""
    return ET.fromstring(svg)  # noqa: S314 (we drew it ourselves)


def of_class(tree: ET.Element, name: str) -> list[ET.Element]:
    """All elements below with this class among theirs."""
    return [each for each in tree.iter() if name in each.get("class", "").split()]


def minutes(*values: float | None) -> list[tuple[datetime, float | None]]:
    """Points ten minutes apart, from noon."""
    return [(NOON + timedelta(minutes=10 * number), value) for number, value in enumerate(values)]


def visible(page: str) -> str:
    """The text of a page without its tags and style."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)).split())
