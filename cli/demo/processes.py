"""Runs the service and the drift worker, each in a process of its own, and always stops them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from cli.demo.workspace import WorkspaceError
from cli.http import OK, EndpointError, ask
from leeway.shutdown import stop_children

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
LOW_PRIORITY = 10
"""The niceness of the drift worker: it shares the processors with a service whose latency is measured."""


class Running:
    """A process that is starting or running."""

    def __init__(
        self, module: str, log: Path, environment: Mapping[str, str], ready: str, *, low_priority: bool
    ) -> None:
        with log.open("w") as file:
            self._process = subprocess.Popen(  # noqa: S603 (our own modules)
                [sys.executable, "-m", module], env=environment, stdout=file, stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C reaches us alone, and we stop them in order
            )  # fmt: skip
        self._module, self._log, self._ready = module, log, ready
        if low_priority:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, LOW_PRIORITY)

    def url(self) -> str:
        """Wait until it answers, and return its address.

        Raises:
            WorkspaceError: it did not start; the message holds its last lines.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            url = _url_in(self._log)
            if url is not None and _answers(url, self._ready):
                return url
            time.sleep(0.05)
        tail = "\n".join(self._log.read_text().splitlines()[-5:])
        raise WorkspaceError(f"{self._module} did not start. The end of its log ({self._log}):\n{tail}")

    def terminate(self) -> None:
        """Send SIGTERM without waiting."""
        self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM; after a grace period, or on a second Ctrl-C, send SIGKILL."""
        stop_children([self._process], STOP_TIMEOUT_S)


@contextmanager
def running(
    module: str, log: Path, environment: Mapping[str, str], *, ready: str, low_priority: bool = False
) -> Iterator[Running]:
    """Run `python -m module` during the block; its output goes to `log`.

    `ready` is the path that answers 200 once the process is ready.
    """
    process = Running(module, log, environment, ready, low_priority=low_priority)
    try:
        yield process
    finally:
        process.stop()


def _url_in(log: Path) -> str | None:
    """The address that a process logs when it listens; a line may be incomplete."""
    for line in log.read_text().splitlines():
        with suppress(msgspec.DecodeError):
            entry = msgspec.json.decode(line)
            if isinstance(entry, dict) and "url" in entry:
                return str(entry["url"])
    return None


def _answers(url: str, path: str) -> bool:
    try:
        return ask(url, path, START_TIMEOUT_S).status == OK
    except EndpointError:
        return False
