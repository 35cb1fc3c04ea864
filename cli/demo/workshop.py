"""Where the demo works: a folder of its own, for one demo at a time, and the settings of what runs in it."""

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


class WorkshopError(Exception):
    """The demo cannot work here, or one of its processes did not start; the message says why."""


SUBJECTS_A_REQUEST = 2
"""One request in ten is a batch of eleven on average."""
ENOUGH_SUBJECTS = 300
FEWEST_LABELS = 250


@dataclass(frozen=True)
class Pace:
    """How often the drift worker compares, over how long, and how many labels performance looks at, in this demo."""

    interval_s: float
    window_s: float
    labels: int

    @classmethod
    def of(cls, lasts_s: float, rate: float) -> Pace:
        """Several comparisons an act; no window too small to judge, and labels of about one act."""
        subjects_a_second = SUBJECTS_A_REQUEST * rate
        return cls(
            interval_s=max(lasts_s / 26, 0.5),
            window_s=max(lasts_s / 9, ENOUGH_SUBJECTS / subjects_a_second),
            labels=max(FEWEST_LABELS, round(subjects_a_second * lasts_s / 6.5)),
        )


@dataclass(frozen=True)
class Workshop:
    """Where the demo keeps what it makes."""

    folder: Path

    @property
    def marker(self) -> Path:
        """A file that says whose folder this is; locked while a demo works here."""
        return self.folder / ".leeway-demo"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "leeway.db"

    @property
    def database_url(self) -> str:
        """The same as an address."""
        return f"sqlite:///{self.database}"

    @property
    def bundle(self) -> Path:
        """The model bundle."""
        return self.folder / "bundle"

    @property
    def spool(self) -> Path:
        """Where predictions wait for the database."""
        return self.folder / "spool.db"

    @property
    def spans(self) -> Path:
        """Spans of both processes, as JSON lines."""
        return self.folder / "spans.jsonl"

    @property
    def reports(self) -> Path:
        """The drift worker's reports."""
        return self.folder / "reports"

    @property
    def page(self) -> Path:
        """The page that the demo leaves."""
        return self.folder / "index.html"

    def log(self, process: str) -> Path:
        """What a process printed."""
        return self.folder / f"{process}.log"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, or clear it of what an earlier demo made, and keep other demos out of it meanwhile.

        Raises:
            WorkshopError: the folder holds things and no demo made it, another demo works there, or it cannot be
                written.
        """
        with ExitStack() as stack:
            try:
                self._begin(stack)
            except OSError as error:
                raise WorkshopError(f"{self.folder} cannot be the demo's folder: {error.strerror}") from error
            yield

    def _begin(self, stack: ExitStack) -> None:
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self.marker.exists():
            raise WorkshopError(f"{self.folder} is not empty, and no demo made it: name another one with --folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        marker = stack.enter_context(self.marker.open("a"))
        self._lock(marker.fileno())
        if not marker.tell():
            marker.write("`leeway demo` made this folder, and begins it anew each time.\n")
            marker.flush()
        self._clear()

    def _lock(self, marker: int) -> None:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkshopError(f"another demo works in {self.folder}: name another one with --folder") from error

    def _clear(self) -> None:
        """Remove what demos make, by name, and nothing else."""
        for file in (self.page, self.spans, self.log("service"), self.log("drift")):
            file.unlink(missing_ok=True)
        for file in (self.database, self.spool):  # each with what stands beside it: -wal, .lock, …
            for path in self.folder.glob(f"{file.name}*"):
                path.unlink()
        for made in (self.reports / "runs", self.bundle):
            shutil.rmtree(made, ignore_errors=True)

    def environment(self, service_port: int, reports_port: int, pace: Pace) -> Mapping[str, str]:
        """The environment of both processes: all in this folder, no Collector, and nothing of the user's settings."""
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
            "LEEWAY_DRIFT_INTERVAL": f"{pace.interval_s:g}",
            "LEEWAY_DRIFT_WINDOW": f"{pace.window_s:g}",
            "LEEWAY_DRIFT_LABELS": f"{pace.labels}",
        }


def port_or_free(port: int) -> int:
    """This port of the loopback address, or where somebody has it, one that is free now."""
    for wanted in (port, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, wanted))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise WorkshopError(f"no port of {HOST} is free")
