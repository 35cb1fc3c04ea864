"""The demo's workspace: a folder for one demo at a time, and the settings of the processes in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
SERVICE_PORT, REPORTS_PORT = 8000, 8001


class WorkspaceError(Exception):
    """The demo cannot run here, or one of its processes failed; the message says why."""


SUBJECTS_A_REQUEST = 2
"""On average: one request in ten is a batch of eleven."""
ENOUGH_SUBJECTS = 300
FEWEST_LABELS = 250


@dataclass(frozen=True)
class DemoTiming:
    """How often the drift worker compares, over which window, and how many labels it uses, in this demo."""

    interval_s: float
    window_s: float
    labels: int

    @classmethod
    def of(cls, lasts_s: float, rate: float) -> DemoTiming:
        """Several comparisons per act, windows large enough to judge, and the labels of about one act."""
        subjects_a_second = SUBJECTS_A_REQUEST * rate
        return cls(
            interval_s=max(lasts_s / 26, 0.5),
            window_s=max(lasts_s / 9, ENOUGH_SUBJECTS / subjects_a_second),
            labels=max(FEWEST_LABELS, round(subjects_a_second * lasts_s / 6.5)),
        )


class Workspace:
    """The folder with everything that the demo creates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = folder / ".leeway-demo"
        """Marks the folder as a demo's; locked while a demo runs in it."""
        self.database = folder / "leeway.db"
        self.database_url = f"sqlite:///{self.database}"
        self.bundle = folder / "bundle"
        self.spool = folder / "spool"
        self.spans = folder / "spans.jsonl"
        """Spans of both processes, as JSON lines."""
        self.reports = folder / "reports"
        self.page = folder / "index.html"

    def log(self, process: str) -> Path:
        """A process's output."""
        return self.folder / f"{process}.log"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder, or clear it of an earlier demo's files, and lock it during the block.

        Raises:
            WorkspaceError: the folder holds other files, another demo runs in it, or it cannot be written.
        """
        with ExitStack() as stack:
            try:
                self._begin(stack)
            except OSError as error:
                raise WorkspaceError(f"cannot use {self.folder} as the demo's folder: {error.strerror}") from error
            yield

    def _begin(self, stack: ExitStack) -> None:
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self.marker.exists():
            raise WorkspaceError(f"{self.folder} is not empty and was not created by a demo: use another --folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        marker = stack.enter_context(self.marker.open("a"))
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(f"another demo is running in {self.folder}: use another --folder") from error
        if not marker.tell():
            marker.write("`leeway demo` created this folder and clears it on each run.\n")
            marker.flush()
        self._clear()

    def _clear(self) -> None:
        """Remove the files that demos create, by name, and nothing else."""
        for file in (self.page, self.spans, self.log("service"), self.log("drift")):
            file.unlink(missing_ok=True)
        for path in self.folder.glob(f"{self.database.name}*"):  # with its companions: -wal and -shm
            path.unlink()
        for made in (self.reports / "runs", self.bundle, self.spool):
            shutil.rmtree(made, ignore_errors=True)

    def environment(self, service_port: int, reports_port: int, timing: DemoTiming) -> Mapping[str, str]:
        """The environment of both processes: this folder's files, no Collector, and none of the user's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
        return kept | {
            "LEEWAY_DATABASE_URL": self.database_url,
            "LEEWAY_BUNDLE": str(self.bundle),
            "LEEWAY_SPOOL": str(self.spool),
            "LEEWAY_SPANS_FILE": str(self.spans),
            "LEEWAY_HOST": HOST,
            "LEEWAY_PORT": str(service_port),
            "LEEWAY_METRICS_ENDPOINT": "on",
            "LEEWAY_FAULTS": "on",
            "LEEWAY_REPORTS": str(self.reports),
            "LEEWAY_REPORTS_HOST": HOST,
            "LEEWAY_REPORTS_PORT": str(reports_port),
            "LEEWAY_TRACE_URL": "none",  # no Jaeger here: the pages show ids and no links
            "LEEWAY_DRIFT_INTERVAL": f"{timing.interval_s:g}",
            "LEEWAY_DRIFT_WINDOW": f"{timing.window_s:g}",
            "LEEWAY_DRIFT_LABELS": f"{timing.labels}",
        }


def port_or_free(port: int) -> int:
    """This port of the loopback address, or a free one if it is in use."""
    for wanted in (port, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, wanted))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise WorkspaceError(f"no port of {HOST} is free")
