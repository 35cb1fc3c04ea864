"""Workers that serve nothing, to test how workers are started, restarted and stopped.

Run as `python -m tests.service.process.toy COUNT BEHAVIOUR`; each worker prints its number and process id at its start.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from leeway.listener import listen
from leeway.settings import ServiceSettings
from leeway.shutdown import defer_stop_signals, stop_signal_socket
from leeway.telemetry.logs import configure_logging
from service.process.workers import run_workers


def wait_for_stop(worker: int) -> None:
    """Print who this is, and wait for a stop signal."""
    with stop_signal_socket() as stop_signal:
        sys.stdout.write(f"{worker} {os.getpid()}\n")
        sys.stdout.flush()
        stop_signal.recv(1)


def well(_settings: ServiceSettings, _listener: socket.socket, worker: int) -> int:
    """Serve, and exit with 0."""
    wait_for_stop(worker)
    return 0


def badly(_settings: ServiceSettings, _listener: socket.socket, worker: int) -> int:
    """Serve, and exit with 1."""
    wait_for_stop(worker)
    return 1


def slowly(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    """Take a second to start."""
    time.sleep(1.0)
    return well(settings, listener, worker)


def one_cannot_start(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    """The second worker cannot start."""
    return 2 if worker == 1 else well(settings, listener, worker)


BEHAVIOURS = {each.__name__: each for each in (well, badly, slowly, one_cannot_start)}


def main() -> int:
    """Run the workers; return their exit code."""
    defer_stop_signals()
    count, behaviour = sys.argv[1:]
    configure_logging(stream=sys.stderr)
    with listen("127.0.0.1", 0) as listener:
        return run_workers(int(count), BEHAVIOURS[behaviour], ServiceSettings.read(), listener)


if __name__ == "__main__":
    sys.exit(main())
