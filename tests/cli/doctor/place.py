"""A service, and the doctor that looks at it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from leeway.model.bundle import Bundle
from tests.service.processes import ROOT, Server, environment, running

DOCTOR = (sys.executable, "-m", "cli.main", "doctor")


@dataclass(frozen=True)
class Place:
    """A service that runs, and the environment in which the doctor finds it."""

    server: Server
    env: dict[str, str]
    folder: Path

    def doctor(self, *flags: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run `leeway doctor` in a pipe."""
        env = self.env | {"LEEWAY_URL": self.server.url} | changes
        return subprocess.run(
            [*DOCTOR, *flags], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def states(self, *flags: str, **changes: str) -> dict[str, str]:
        """The state of each check."""
        found = json.loads(self.doctor("--json", *flags, **changes).stdout)
        return {each["check"]: each["state"] for each in found["checks"]}

    def checks_stored(self) -> int:
        """How many predictions in the database are checks."""
        with closing(sqlite3.connect(self.folder / "leeway.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM predictions WHERE is_synthetic").fetchone()[0])


@contextmanager
def a_place(bundle: Bundle, folder: Path, **changes: str) -> Iterator[Place]:
    """Run a service with all its files in `folder`."""
    env = environment(bundle, folder, LEEWAY_REPORTS=str(folder / "reports"), **changes)
    with running(folder, env) as server:
        assert server.url
        yield Place(server, env, folder)
