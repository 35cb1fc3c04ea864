"""Where the demo works: a folder of its own, and the API in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class WorkshopError(Exception):
    """The demo cannot work here, or its service did not start; the message says why."""


@dataclass(frozen=True)
class Workshop:
    """Where the demo keeps what it makes."""

    folder: Path

    @property
    def marker(self) -> Path:
        """A file that says whose folder this is."""
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
        """Spans as JSON lines."""
        return self.folder / "spans.jsonl"

    @property
    def log(self) -> Path:
        """What the service printed."""
        return self.folder / "service.log"

    def prepare(self) -> None:
        """Make the folder, or clear it of what an earlier demo made; nothing else is ever removed.

        Raises:
            WorkshopError: the folder holds things and no demo made it, or it cannot be written.
        """
        try:
            if self.folder.is_dir() and any(self.folder.iterdir()) and not self.marker.exists():
                raise WorkshopError(f"{self.folder} is not empty, and no demo made it: name another one with --folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.marker.write_text("`leeway demo` made this folder, and begins it anew each time.\n")
            for file in (self.database, self.spool, self.spans, self.log):
                for path in (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise WorkshopError(f"{self.folder} cannot be the demo's folder: {error.strerror}") from error

    def environment(self) -> dict[str, str]:
        """The service's environment: all in this folder, a free port, no Collector."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
        return kept | {
            "LEEWAY_DATABASE_URL": self.database_url,
            "LEEWAY_BUNDLE": str(self.bundle),
            "LEEWAY_SPOOL": str(self.spool),
            "LEEWAY_SPANS_FILE": str(self.spans),
            "LEEWAY_PORT": "0",
            "LEEWAY_METRICS_ENDPOINT": "on",
        }


@contextmanager
def serving(shop: Workshop) -> Iterator[str]:
    """Run the API in a process of its own; yield its address. On the way out it is stopped, whatever happens.

    Raises:
        WorkshopError: it did not start; the message holds what it printed last.
    """
    with shop.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], env=shop.environment(), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield _address(process, shop.log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM and patience; then, or where patience ends (a second Ctrl-C), SIGKILL."""
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        url = _url_in(log)
        if url is not None and _is_ready(url):
            return url
        time.sleep(0.05)
    tail = "\n".join(log.read_text().splitlines()[-5:])
    raise WorkshopError(f"the service did not start; it printed last (see {log}):\n{tail}")


def _url_in(log: Path) -> str | None:
    """The address that the service logs once it listens; a line may be half written."""
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "url" in entry:
            return str(entry["url"])
    return None


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", trust_env=False).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False
