"""Servers in processes of their own: start them on one core, and read their processor time and memory from `/proc`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leeway.shutdown import stop_children

SERVER_CORE = 0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A running server; `ready_s` is how long it took to become ready."""

    name: str
    port: int
    pid: int
    ready_s: float

    def processor_s(self) -> tuple[float, float]:
        """Processor time so far in seconds: of the server's process, and of it with all its descendants."""
        return _processor_s(self.pid), sum(map(_processor_s, [self.pid, *descendants(self.pid)]))

    def pss_mib(self) -> float:
        """Proportional set size of the server's process in MiB."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) / 1024  # type: ignore[index]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def server(name: str, arguments: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run a Python server, its main process on `SERVER_CORE`; yield it once it is ready."""
    started = time.perf_counter()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEEWAY_", "OTEL_"))}
    process = subprocess.Popen([sys.executable, *arguments], env={**kept, **environment}, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                raise SystemExit(f"server {name} did not start")
            time.sleep(0.01)
        ready_s = time.perf_counter() - started
        pin(process.pid, SERVER_CORE)
        yield Server(name, port, process.pid, ready_s)
    finally:
        stop_children([process], STOP_TIMEOUT_S)


def pin(pid: int, core: int) -> None:
    """Run all threads of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # user and system time, see proc(5)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
