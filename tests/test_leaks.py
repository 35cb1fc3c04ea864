"""The check that nothing is left open sees each kind of resource."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.leaks import nothing_left_open, open_resources, threads_and_children

Opened: TypeAlias = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def a_thread(_: Path) -> Iterator[None]:
    """A thread that runs."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left over")
    thread.start()
    yield
    stop.set()
    thread.join()


@contextmanager
def a_process(_: Path) -> Iterator[None]:
    """A child process that runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield
        process.kill()


@contextmanager
def a_file(folder: Path) -> Iterator[None]:
    """An open file."""
    with (folder / "leeway.db").open("w"):
        yield


@contextmanager
def a_socket(_: Path) -> Iterator[None]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)):
        yield


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="processes and descriptors are read from /proc")
@pytest.mark.parametrize(
    ("opened", "named"),
    [(a_thread, "thread left over"), (a_process, "process"), (a_file, "leeway.db"), (a_socket, "socket")],
)
def test_each_kind_of_resource_is_seen(opened: Opened, named: str, tmp_path: Path) -> None:
    """What is still open at the end of a scope fails there, by name."""
    check = nothing_left_open("test", grace_s=0.0)
    check.__enter__()
    with opened(tmp_path), pytest.raises(AssertionError, match=rf"left open by this test: .*{named}"):
        check.__exit__(None, None, None)


def test_what_is_closed_is_no_leak(tmp_path: Path) -> None:
    """Opened and closed within the scope, nothing fails."""
    with nothing_left_open("test", grace_s=0.0):
        for opened in (a_thread, a_process, a_file, a_socket):
            with opened(tmp_path):
                pass
    assert open_resources() >= threads_and_children()
