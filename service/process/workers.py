"""Several processes behind one listening socket, and how any of them is told to stop."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

from leeway.settings import ServiceSettings
from leeway.telemetry.logs import configure_logging

Serve = Callable[[ServiceSettings, socket.socket, int], int]
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CANNOT_START = 2
RESTART_DELAY_S = 1.0
STOP_TIMEOUT_S = 15.0
_log = logging.getLogger(__name__)


def cannot_start(reason: str) -> int:
    """Say on standard error, in one line, why not; return the exit code for it."""
    sys.stderr.write(f"leeway serve: {' '.join(reason.split())}\n")
    return CANNOT_START


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the address cannot be used; the message says what to do.
    """
    try:
        return socket.create_server((host, port), backlog=2048, family=_family(host))
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        what_to_do = (
            "free it, or set LEEWAY_PORT to another (0: any)"
            if error.errno == errno.EADDRINUSE
            else "set LEEWAY_HOST and LEEWAY_PORT to an address of this machine and a port that you may use"
        )
        raise OSError(error.errno, f"cannot listen on {host}:{port} ({reason}): {what_to_do}") from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Waiting:
    """A handler that keeps a signal for later; were it blocked, one of NumPy's threads would take it instead."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, *_: object) -> None:
        self.came = True


def defer_stop_signals() -> None:
    """Let SIGTERM and SIGINT wait until `on_stop`: one that comes during the start is answered at its end."""
    waiting = _Waiting()
    for number in STOP_SIGNALS:
        signal.signal(number, waiting)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a worker is born with them blocked


@contextmanager
def on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT inside the block; after it they are ignored: nothing shall be cut short."""
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop())
    if any(isinstance(handler, _Waiting) and handler.came for handler in before):
        stop()
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def told_to_stop() -> Iterator[socket.socket]:
    """Yield a socket that can be read once SIGTERM or SIGINT came.

    The interpreter's own handler writes to it, so that none is missed between looking and waiting.
    """
    told, tell = socket.socketpair()
    tell.settimeout(0.0)
    with closing(told), closing(tell):
        signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        try:
            with on_stop(lambda: _tell(tell)):
                yield told
        finally:
            signal.set_wakeup_fd(-1)


def _tell(to: socket.socket) -> None:
    with suppress(BlockingIOError):
        to.send(b"!")


def force_exit_if_threads_remain(exit_code: int) -> None:
    """End the process where a request's thread still hangs, as in a database that never answers; else do nothing.

    All is flushed by now and the request was cut, but the interpreter would wait for its thread.
    """
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(exit_code)


def run_workers(count: int, serve: Serve, settings: ServiceSettings, listener: socket.socket) -> int:
    """Run `serve` in `count` processes until SIGTERM or SIGINT; one that dies is started again.

    Returns 0 where all ended well on being told to, else 1. Exit code 2 of a worker means that it cannot start: the
    others are stopped and it is returned, since another try would end the same.
    """

    def start(worker: int) -> BaseProcess:
        return _start(serve, settings, listener, worker)

    resource_tracker.ensure_running()  # it unblocks signals when it starts, so not between blocking and a first start
    with told_to_stop() as told:
        processes = [start(worker) for worker in range(count)]
        while told not in connection.wait([told, *(process.sentinel for process in processes)]):
            ended = [worker for worker, process in enumerate(processes) if process.exitcode is not None]
            if any(processes[worker].exitcode == CANNOT_START for worker in ended):
                _stop(processes)
                return CANNOT_START
            for worker in ended:
                _log.error("worker %d ended with %s and is started again", worker, processes[worker].exitcode)
            if connection.wait([told], RESTART_DELAY_S if ended else 0):
                break
            for worker in ended:
                processes[worker] = start(worker)
    return int(not _stop(processes))


def _start(serve: Serve, settings: ServiceSettings, listener: socket.socket, worker: int) -> BaseProcess:
    """Start one worker; it is born with signals blocked, so that none meets it half-started."""
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(serve, settings, listener, worker), name=f"worker-{worker}"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _stop(processes: Sequence[BaseProcess]) -> bool:
    """Stop all, and say whether all ended well; one that does not end in time is killed."""
    for process in processes:
        process.terminate()
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        process.join(max(0.0, deadline_s - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()
    return _ended_well(processes)


def _ended_well(processes: Iterable[BaseProcess]) -> bool:
    return all(process.exitcode == 0 for process in processes)


def _work(serve: Serve, settings: ServiceSettings, listener: socket.socket, worker: int) -> None:
    defer_stop_signals()
    configure_logging()
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    raise SystemExit(serve(settings, listener, worker))


def _follow_parent() -> None:
    """Stop where the parent was killed: nobody else would tell us, and the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
