"""Starts the service and the drift worker, each in a process of its own, and stops them whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

from cli.demo.workshop import WorkshopError
from leeway.shutdown import stop_children

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
GIVES_WAY = 10
"""The niceness of the drift worker: it compares beside a service that is measured, on the same processors."""


class Running:
    """A process of ours that is on its way up."""

    def __init__(self, module: str, log: Path, environment: Mapping[str, str], ready: str, *, gives_way: bool) -> None:
        with log.open("w") as file:
            self._process = subprocess.Popen(  # noqa: S603 (our own modules)
                [sys.executable, "-m", module], env=environment, stdout=file, stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C is for us, who then stop them in order
            )  # fmt: skip
        self._module, self._log, self._ready = module, log, ready
        if gives_way:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, GIVES_WAY)

    def url(self) -> str:
        """Wait until it answers, and say where.

        Raises:
            WorkshopError: it did not start; the message holds what it printed last.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            url = _url_in(self._log)
            if url is not None and _answers(f"{url}{self._ready}"):
                return url
            time.sleep(0.05)
        tail = "\n".join(self._log.read_text().splitlines()[-5:])
        raise WorkshopError(f"{self._module} did not start; it printed last (see {self._log}):\n{tail}")

    def terminate(self) -> None:
        """Send SIGTERM without waiting."""
        self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM; after a grace period, or on a second Ctrl-C, send SIGKILL."""
        stop_children([self._process], STOP_TIMEOUT_S)


@contextmanager
def running(
    module: str, log: Path, environment: Mapping[str, str], *, ready: str, gives_way: bool = False
) -> Iterator[Running]:
    """Run `python -m module` while the block lasts; what it prints goes to `log`.

    `ready` is the path that answers with 200 once it is up; a process that `gives_way` has the lower priority.
    """
    process = Running(module, log, environment, ready, gives_way=gives_way)
    try:
        yield process
    finally:
        process.stop()


def _url_in(log: Path) -> str | None:
    """The address that a process logs once it listens; a line may be half written."""
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "url" in entry:
            return str(entry["url"])
    return None


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False
