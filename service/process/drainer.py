"""Starts the drainer's process and restarts it when it dies. No request depends on it: records wait in the spool."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import IO, Self

import msgspec

from leeway.settings import ServiceSettings
from leeway.shutdown import STOP_SIGNALS
from service.spool.status import read_status

COMMAND = (sys.executable, "-m", "service.spool")
FIRST_DELAY_S, MAX_DELAY_S = 0.25, 30.0
STOP_TIMEOUT_S = 3.0
_log = logging.getLogger(__name__)


class DrainerProcess:
    """Keeps one drainer running, from `start` to `stop` or to the death of this process.

    A drainer that had begun to work is replaced at once. One that dies while it starts is replaced after a delay, which
    doubles each time up to `MAX_DELAY_S`.
    """

    def __init__(self, settings: ServiceSettings, command: Sequence[str] = COMMAND) -> None:
        self._spool = settings.spool
        self._order = msgspec.json.encode(  # not in the arguments, which other users can read
            {
                "spool": str(settings.spool),
                "database_url": settings.database_url,
                "delta": settings.delta,
                "fsync_always": settings.spool_fsync == "always",
            }
        )
        self._command = command
        self._lock = Lock()
        self._stopping = Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._delay_s = FIRST_DELAY_S
        self._thread = Thread(target=self._keep_running, name="leeway-drainer-process", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the drainer."""
        self._thread.start()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the drainer, which first stores waiting records for a moment; kill it after `timeout_s`."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            _input(process).close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive() and process is not None:
            process.kill()
            self._thread.join()

    def _keep_running(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # inherited: a signal while it starts must not end it
        delay_s = 0.0
        while not self._stopping.wait(delay_s):
            started_at = time.time()
            exit_code = self._run()
            if self._stopping.is_set():
                return
            status = read_status(self._spool)
            has_worked = status is not None and status.updated_at > started_at
            self._delay_s = FIRST_DELAY_S if has_worked else min(2 * self._delay_s, MAX_DELAY_S)
            delay_s = self._delay_s
            _log.error("the drainer exited with %s; restarting it in %g s", exit_code, delay_s)

    def _run(self) -> int | str:
        """Run one process until it ends; return its exit code."""
        with self._lock:
            if self._stopping.is_set():
                return 0
            try:
                process = subprocess.Popen(self._command, stdin=subprocess.PIPE, bufsize=0)  # noqa: S603 (our own module)
            except OSError as error:
                return str(error)
            self._process = process
            with suppress(OSError):  # it has already died, which `wait` reports
                _input(process).write(self._order + b"\n")
        try:
            return process.wait()
        finally:
            with self._lock:
                self._process = None
            _input(process).close()


def _input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise TypeError("the drainer was started without a pipe")
    return process.stdin
