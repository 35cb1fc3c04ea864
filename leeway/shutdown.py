"""How processes stop: signals become an orderly shutdown, children and leftover threads cannot delay it forever.

Every process of ours uses this module: the service and its workers, the drift worker, the commands and the demo.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    Child: TypeAlias = "subprocess.Popen[bytes] | subprocess.Popen[str] | BaseProcess"

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CANNOT_START = 2
"""Exit code of a process that cannot start."""


def cannot_start(command: str, reason: str) -> int:
    """Write one line to standard error that says why `command` cannot start; return the exit code for it."""
    sys.stderr.write(f"{command}: {' '.join(reason.split())}\n")
    return CANNOT_START


class _DeferredSignal:
    """A handler that remembers a signal. Blocking it instead would deliver it to one of NumPy's threads."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, *_: object) -> None:
        self.received = True


def defer_stop_signals() -> None:
    """Defer SIGTERM and SIGINT until `on_stop_signal`, which ignores them at its end: start and shutdown complete."""
    deferred = _DeferredSignal()
    for number in STOP_SIGNALS:
        signal.signal(number, deferred)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a worker starts with them blocked


@contextmanager
def on_stop_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT inside the block, and at its start for one that was deferred before."""
    try:
        with _handler(STOP_SIGNALS, lambda *_: stop()) as before:
            if any(isinstance(handler, _DeferredSignal) and handler.received for handler in before):
                stop()
            yield
    finally:
        for number in STOP_SIGNALS:
            if isinstance(signal.getsignal(number), _DeferredSignal):
                # An exiting interpreter resets our handlers to the default, which would kill it, but keeps SIG_IGN.
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signal_socket() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable on SIGTERM or SIGINT.

    The interpreter writes to it in the signal handler itself, so none is missed between a check and a wait.
    """
    receiver, sender = socket.socketpair()
    sender.settimeout(0.0)

    def notify() -> None:
        with suppress(BlockingIOError):
            sender.send(b"!")

    with closing(receiver), closing(sender):
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            with on_stop_signal(notify):
                yield receiver
        finally:
            signal.set_wakeup_fd(-1)


@contextmanager
def interrupt_on_stop_signal() -> Iterator[Callable[[], None]]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, as Python does on SIGINT, so that commands clean up.

    Yields a function that raises KeyboardInterrupt again if one was raised before and a library swallowed it.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    signals = [signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # otherwise the caller handles Ctrl-C
        signals.append(signal.SIGINT)
    with _handler(signals, interrupt):
        yield check


@contextmanager
def _handler(signals: Iterable[signal.Signals], handler: Callable[[int, object], object]) -> Iterator[list[object]]:
    """Install `handler`; yield the handlers of before, and restore them at the end."""
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield list(before.values())
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def stop_children(children: Sequence[Child], grace_s: float) -> None:
    """Send SIGTERM to all children, and SIGKILL to those that still run after `grace_s` or on an exception."""
    deadline_s = time.monotonic() + grace_s
    try:
        for child in children:
            child.terminate()
        for child in children:
            _wait(child, max(0.0, deadline_s - time.monotonic()))
    finally:
        for child in children:
            child.kill()
            _wait(child)


def _wait(child: Child, timeout_s: float | None = None) -> None:
    if isinstance(child, subprocess.Popen):
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout_s)
    else:
        child.join(timeout_s)


@contextmanager
def forced_exit_after(timeout_s: float) -> Iterator[None]:
    """End the process with exit code 0 if the block takes longer, whatever it waits for."""
    timer = threading.Timer(timeout_s, _force_exit, args=(0,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def force_exit_if_threads_remain(exit_code: int) -> None:
    """End the process if a non-daemon thread still runs, for example one that waits for a database; else return.

    The interpreter would wait for that thread.
    """
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        _force_exit(exit_code)


def _force_exit(exit_code: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(exit_code)
