"""Runs the service and the drift worker, each in a process of its own, and always stops them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from cli.demo.workspace import WorkspaceError
from cli.http import OK, EndpointError, ask
from leeway.shutdown import stop_children

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
READY = {"service": "/health/ready", "drift": "/healthz"}
"""The path that answers 200 once the process is ready."""
COMMANDS = {"service": ("serve",), "drift": ("drift", "worker")}
LOW_PRIORITY = 10
"""The niceness of the drift worker: it shares the processors with a service whose latency is measured."""


@dataclass(frozen=True)
class Running:
    """A process that is starting or running."""

    module: str
    log: Path
    process: subprocess.Popen[bytes]

    def url(self) -> str:
        """Wait until it answers, and return its address.

        Raises:
            WorkspaceError: it did not start; the message holds its last lines.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            url = _url_in(self.log)
            with suppress(EndpointError):
                if url is not None and ask(url, READY[self.module], START_TIMEOUT_S).status == OK:
                    return url
            time.sleep(0.05)
        tail = "\n".join(self.log.read_text().splitlines()[-5:])
        raise WorkspaceError(f"{self.module} did not start. The end of its log ({self.log}):\n{tail}")


@contextmanager
def running(module: Literal["service", "drift"], log: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    """Run the process during the block; its output goes to `log`.

    At the end it gets SIGTERM and, after a grace period or on a second Ctrl-C, SIGKILL.
    """
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603 (our own modules)
            [sys.executable, "-m", "cli.main", *COMMANDS[module]],
            env=environment, stdout=file, stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches us alone, and we stop them in order
        )  # fmt: skip
    try:
        if module == "drift":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, LOW_PRIORITY)
        yield Running(module, log, process)
    finally:
        stop_children([process], STOP_TIMEOUT_S)


def _url_in(log: Path) -> str | None:
    """The address that a process logs when it listens; a line may be incomplete."""
    for line in log.read_text().splitlines():
        with suppress(msgspec.DecodeError):
            entry = msgspec.json.decode(line)
            if isinstance(entry, dict) and "url" in entry:
                return str(entry["url"])
    return None
