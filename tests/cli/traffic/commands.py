"""`leeway traffic` as a process of its own, and what it left behind."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from leeway.model.bundle import Bundle
from tests.service.processes import ROOT, environment

TRAFFIC = ("-m", "cli.main", "traffic")
LIMIT_S = 60.0


def command(bundle: Bundle, folder: Path, url: str, *flags: str, **changes: str) -> subprocess.Popen[str]:
    """Start `leeway traffic` in a pipe, against `url`."""
    env = environment(bundle, folder, LEEWAY_URL=url, **changes)
    return subprocess.Popen(
        [sys.executable, *TRAFFIC, *flags],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def traffic(bundle: Bundle, folder: Path, url: str, *flags: str, **changes: str) -> tuple[int, str, str]:
    """Run `leeway traffic`; its exit code, and what it said on standard output and standard error."""
    process = command(bundle, folder, url, *flags, **changes)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return process.returncode, out, err


def stored(folder: Path, query: str) -> int:
    """A number from the service's database."""
    with closing(sqlite3.connect(folder / "leeway.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def number(out: str, pattern: str) -> int:
    """A number that the command printed."""
    match = re.search(pattern, out)
    assert match is not None, out
    return int(match[1].replace(",", ""))
