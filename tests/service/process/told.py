"""How soon a process tells and ends, and what its log and its database tell of it afterwards."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.service.processes import Server

SHUTDOWN_S = 15.0
QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Export often, so that a test need not wait."""


def rows_by_id(database: Path) -> Counter[str]:
    """How often each prediction stands in the database."""
    if not database.is_file():
        return Counter()
    with closing(sqlite3.connect(database)) as connection:
        try:
            return Counter(row[0] for row in connection.execute("SELECT prediction_id FROM predictions"))
        except sqlite3.OperationalError:
            return Counter()  # no table yet


def starts(server: Server) -> set[str]:
    """What the log says of processes that began to serve."""
    return {line["message"] for line in server.log() if line["message"].startswith("Started server process")}


def pid_of(message: str) -> int:
    """The process id in `Started server process [123]`."""
    return int(message.partition("[")[2].rstrip("]"))
