"""Worker processes behind one listening socket, and their supervisor.

The supervisor keeps the port open and restarts workers that die. It imports nothing that only the workers need.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

from leeway.settings import ServiceSettings
from leeway.shutdown import (
    CANNOT_START,
    STOP_SIGNALS,
    cannot_start,
    defer_stop_signals,
    stop_children,
    stop_signal_socket,
)
from leeway.telemetry.environment import instance_is_given, serves_metrics
from leeway.telemetry.logs import configure_logging
from service.process.drainer import DrainerProcess

Serve = Callable[[ServiceSettings, socket.socket, int], int]
COMMAND = "leeway serve"
RESTART_DELAY_S = 1.0
STOP_TIMEOUT_S = 15.0
_log = logging.getLogger(__name__)


def supervise(settings: ServiceSettings, workers: int = 1) -> int:
    """Serve in `workers` processes until SIGTERM or SIGINT; return the exit code, as `service.__main__.main` does.

    The port stays open while a killed process is replaced, so callers wait instead of being rejected.
    """
    if workers > 1 and (reason := single_worker_reason(settings)):
        return cannot_start(COMMAND, reason)
    return serve_on_port(settings, lambda listener: _run_with_drainer(workers, settings, listener))


def _run_with_drainer(workers: int, settings: ServiceSettings, listener: socket.socket) -> int:
    """Run the workers and the one drainer of their spool, which ends after them."""
    with DrainerProcess(settings):
        return run_workers(workers, _serve, settings, listener)


def _serve(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    from service.__main__ import serve  # noqa: PLC0415 (about 50 MiB that only the workers need)

    return serve(settings, listener, worker)


def single_worker_reason(settings: ServiceSettings) -> str | None:
    """Why these settings allow one worker only, and what to change; None if they allow several."""
    if settings.faults:
        return (
            "a fault would affect only the worker that handled the request to inject it: unset LEEWAY_FAULTS, or use"
            " one worker"
        )
    if serves_metrics(settings.metrics_endpoint):
        return (
            "each of several workers would serve /metrics with its own numbers: set OTEL_EXPORTER_OTLP_ENDPOINT so"
            " that a Collector adds them up, or LEEWAY_METRICS_ENDPOINT=off, or use one worker"
        )
    if instance_is_given():
        return (
            "several workers with one service.instance.id would overwrite each other's numbers: remove it from"
            " OTEL_RESOURCE_ATTRIBUTES, or use one worker"
        )
    return None


def serve_on_port(settings: ServiceSettings, serve: Callable[[socket.socket], int]) -> int:
    """Configure logging, defer stop signals, and call `serve` with a listening socket; return its exit code.

    Returns 2, with one line on standard error, if the port cannot be used.
    """
    configure_logging()
    defer_stop_signals()
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return cannot_start(COMMAND, str(error.strerror))
    with listener:
        return serve(listener)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the address cannot be used; the message says what to do.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), backlog=2048, family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        what_to_do = (
            "free the port, or set LEEWAY_PORT to another (0: any free port)"
            if error.errno == errno.EADDRINUSE
            else "set LEEWAY_HOST to an address of this machine and LEEWAY_PORT to a port that you may use"
        )
        raise OSError(error.errno, f"cannot listen on {host}:{port} ({reason}): {what_to_do}") from error


def run_workers(count: int, serve: Serve, settings: ServiceSettings, listener: socket.socket) -> int:
    """Run `serve` in `count` processes until SIGTERM or SIGINT, and restart those that die.

    Returns 0 if all of them exited with 0 after the signal, else 1. A worker that exits with 2 cannot start: the others
    are stopped and 2 is returned, because a restart would fail in the same way.
    """

    def start(worker: int) -> BaseProcess:
        return _start(serve, settings, listener, worker)

    resource_tracker.ensure_running()  # its start unblocks signals, so it must not happen while a worker starts
    with stop_signal_socket() as stop_signal:
        workers = [start(worker) for worker in range(count)]
        while stop_signal not in connection.wait([stop_signal, *(worker.sentinel for worker in workers)]):
            ended = [number for number, worker in enumerate(workers) if worker.exitcode is not None]
            if any(workers[number].exitcode == CANNOT_START for number in ended):
                stop_children(workers, STOP_TIMEOUT_S)
                return CANNOT_START
            for number in ended:
                _log.error("worker %d exited with %s; restarting it", number, workers[number].exitcode)
            if connection.wait([stop_signal], RESTART_DELAY_S if ended else 0):
                break
            for number in ended:
                workers[number] = start(number)
    stop_children(workers, STOP_TIMEOUT_S)
    return int(any(worker.exitcode != 0 for worker in workers))


def _start(serve: Serve, settings: ServiceSettings, listener: socket.socket, worker: int) -> BaseProcess:
    """Start one worker with stop signals blocked, so that none interrupts its start."""
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(serve, settings, listener, worker), name=f"worker-{worker}"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _work(serve: Serve, settings: ServiceSettings, listener: socket.socket, worker: int) -> None:
    defer_stop_signals()
    configure_logging()
    threading.Thread(target=_stop_with_parent, name="stop-with-parent", daemon=True).start()
    raise SystemExit(serve(settings, listener, worker))


def _stop_with_parent() -> None:
    """Stop if the supervisor was killed: nobody else would stop this worker, and it would keep the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
