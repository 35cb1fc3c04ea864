"""One process, or several behind one listening socket with their supervisor.

The supervisor keeps the port open and restarts workers that die. It imports nothing that only the workers need.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

from leeway.listener import listen, warn_if_open
from leeway.settings import ServiceSettings, SettingsError
from leeway.shutdown import (
    CANNOT_START,
    STOP_SIGNALS,
    cannot_start,
    defer_stop_signals,
    stop_children,
    stop_signal_socket,
)
from leeway.telemetry.environment import TelemetryError, instance_is_given, serves_metrics
from leeway.telemetry.logs import configure_logging
from leeway.telemetry.variables import ignore_invalid_variables
from service.process.drainer import DrainerProcess

Serve = Callable[[ServiceSettings, socket.socket, int], int]
COMMAND = "leeway serve"
RESTART_DELAY_S = 1.0
STOP_TIMEOUT_S = 15.0
_log = logging.getLogger(__name__)


def serve_alone(settings: ServiceSettings) -> int:
    """Serve in this process until SIGTERM or SIGINT; return the exit code as `serve_on_port` does."""
    return serve_on_port(settings, lambda listener: _serve(settings, listener, None))


def supervise(settings: ServiceSettings, workers: int = 1) -> int:
    """Serve in `workers` processes until SIGTERM or SIGINT; return the exit code as `serve_on_port` does.

    The port stays open while a killed process is replaced, so callers wait instead of being rejected.
    """

    def run(listener: socket.socket) -> int:
        if workers > 1 and (reason := single_worker_reason(settings)):
            return cannot_start(COMMAND, reason)
        with DrainerProcess(settings):  # one for the spool of all workers; it ends after them
            return run_workers(workers, _serve, settings, listener)

    return serve_on_port(settings, run)


def _serve(settings: ServiceSettings, listener: socket.socket, worker: int | None) -> int:
    gc.disable()  # until `tune_interpreter`: imports only make what stays, and collections take a tenth of their time
    from service.__main__ import serve  # noqa: PLC0415 (50 MiB, and it imports what reads the OTEL_* variables)

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
    """Prepare the process, and call `serve` with a listening socket; return its exit code, 0 after a stop signal.

    Returns 2, with one line on standard error, if the service cannot start.
    """
    configure_logging()
    defer_stop_signals()
    try:
        settings.check_log()
        ignore_invalid_variables()
        listener = listen(settings.host, settings.port)
    except (SettingsError, TelemetryError) as error:
        return cannot_start(COMMAND, str(error))
    except OSError as error:
        return cannot_start(COMMAND, str(error.strerror))
    with listener:
        if settings.api_keys_file is None and not settings.allow_anonymous:
            warn_if_open(listener, "the API")
        return serve(listener)


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
