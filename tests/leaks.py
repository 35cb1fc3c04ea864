"""What a fixture or a test opens is closed when its scope ends: threads, child processes, TCP sockets and files.

Two fixtures that every test uses, one per scope. Each is set up before the other fixtures of its scope and torn down
after them, so what a scope leaves open fails at its end: in the test itself, or in the last test of the module. (A
metric reader that outlived its test wrote into the log of a later test, which then failed one run in many.)

Files and sockets are looked at by module: a service that serves a whole module opens its database when a test needs it.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests import preloaded

GRACE_S: Final = 3.0
"""Time for threads and processes that were stopped to end."""
_FDS: Final = Path("/proc/self/fd")


def open_resources() -> set[str]:
    """Threads, child processes, sockets and regular files that this process holds now; the last three on Linux only."""
    return {*_threads(), *_children(), *_descriptors()}


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        yield f"thread {thread.name} ({thread.ident})"


def _children() -> Iterator[str]:
    for children in Path("/proc/self/task").glob("*/children"):
        try:
            yield from (f"process {pid}" for pid in children.read_text().split() if not _lasts(pid))
        except OSError:  # the thread ended
            continue


def _lasts(pid: str) -> bool:
    """Whether this is a helper that lives as long as the process that started it: of `multiprocessing`, or ours."""
    if pid == str(preloaded.server_pid()):
        return True
    return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _descriptors() -> Iterator[str]:
    connections = _tcp_inodes()
    for descriptor in _FDS.iterdir() if _FDS.exists() else ():
        try:
            target = str(descriptor.readlink())
        except OSError:  # closed since; the listing's own descriptor is among them
            continue
        is_file = target.startswith("/") and not target.startswith(("/dev/", "/proc/"))
        if is_file or target.removeprefix("socket:").strip("[]") in connections:
            yield f"descriptor {descriptor.name} of {target}"


def _tcp_inodes() -> set[str]:
    """TCP sockets of this machine. A library may keep a socket pair from its import on; that is no connection."""
    tables = [Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6")]
    rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    return {row[9] for row in rows}


@contextmanager
def nothing_left_open(
    scope: str, look: Callable[[], set[str]] = open_resources, grace_s: float = GRACE_S
) -> Iterator[None]:
    """Fail where more is open at the end than at the beginning.

    Raises:
        AssertionError: something is left; the message lists it.
    """
    before = look()
    yield
    deadline_s = time.monotonic() + grace_s
    while (left := look() - before) and time.monotonic() < deadline_s:
        gc.collect()
        time.sleep(0.02)
    assert not left, f"left open by this {scope}: {', '.join(sorted(left))}"


def threads_and_children() -> set[str]:
    """Threads and child processes, without the idle workers of an event loop: they end with their loop."""
    return {*(each for each in _threads() if "AnyIO worker" not in each), *_children()}


@pytest.fixture(autouse=True)
def function_leaves_nothing_open() -> Iterator[None]:
    """A test, and the fixtures of its own, end the threads and processes that they start."""
    with nothing_left_open("test", threads_and_children):
        yield


@pytest.fixture(autouse=True, scope="module")
def module_leaves_nothing_open() -> Iterator[None]:
    """The fixtures of a module close what they open."""
    with nothing_left_open("module"):
        yield
