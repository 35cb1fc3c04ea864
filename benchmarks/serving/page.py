"""The page of figures, `docs/benchmarks.md`: each command replaces its own section, the rest is written by hand."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path("docs/benchmarks.md")


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the section's two comments.

    Raises:
        ValueError: the page has no such section.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{page} has no lines {begin} and {end}: add them where the figures shall stand")
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def provenance(command: str) -> str:
    """When, where and by which command figures were measured, as a sentence."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found[1].strip() if found else platform.machine()
    return (
        f"`{command}` on {datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}: {os.cpu_count()}"
        f" cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}."
    )
