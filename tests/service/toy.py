"""A service without a service, to see how workers are started, watched and stopped.

Run as `python -m tests.service.toy COUNT BEHAVIOUR`; each worker that begins prints its number and its process id.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from leeway.settings import ServiceSettings
from leeway.shutdown import defer_stop_signals, stop_signal_socket
from leeway.telemetry.logs import configure_logging
from service.process.workers import listen, run_workers


def wait_for_stop(worker: int) -> None:
    """Begin, and wait until told to stop."""
    with stop_signal_socket() as told:
        sys.stdout.write(f"{worker} {os.getpid()}\n")
        sys.stdout.flush()
        told.recv(1)


def well(_settings: ServiceSettings, _listener: socket.socket, worker: int) -> int:
    """Serve, and end well."""
    wait_for_stop(worker)
    return 0


def badly(_settings: ServiceSettings, _listener: socket.socket, worker: int) -> int:
    """Serve, and end badly."""
    wait_for_stop(worker)
    return 1


def slowly(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    """Take a while to begin."""
    time.sleep(1.0)
    return well(settings, listener, worker)


def one_cannot_start(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    """The second worker finds out that it cannot start."""
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
