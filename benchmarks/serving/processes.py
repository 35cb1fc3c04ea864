"""Servers in processes of their own: start them on one core, and read their processor time and memory from `/proc`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leeway.shutdown import stop_children

CORES: Final = tuple(sorted(os.sched_getaffinity(0)))
"""The cores that this command may use, before it pins itself to one of them."""
SERVER_CORE: Final = CORES[0]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A running server; `ready_s` is how long it took to become ready.

    If its children answer requests too (`children_answer`), they count as its API process.
    """

    name: str
    port: int
    pid: int
    ready_s: float
    children_answer: bool = False

    def processor_s(self) -> tuple[float, float]:
        """Processor time so far in seconds: of the API process, and of the server with all its descendants."""
        whole = sum(map(processor_s, [self.pid, *descendants(self.pid)]))
        return whole if self.children_answer else processor_s(self.pid), whole

    def drainer(self) -> int:
        """The process id of the service's drainer.

        Raises:
            LookupError: it has none.
        """
        for pid in self._drainers():
            return pid
        raise LookupError(f"server {self.name} has no drainer")

    def has_drainer(self) -> bool:
        """Whether its drainer has started."""
        return bool(self._drainers())

    def _drainers(self) -> list[int]:
        return [pid for pid in descendants(self.pid) if b"service.spool" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def client_core() -> int:
    """The core for everything but the API process.

    Raises:
        SystemExit: there is only one.
    """
    if len(CORES) < 2:
        raise SystemExit("this benchmark needs two cores: one for the server, one for everything else")
    return CORES[1]


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def server(
    name: str,
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    *,
    ready_path: str = "/health/ready",
    cores: Collection[int] = (SERVER_CORE,),
    children_answer: bool = False,
    log: Path | None = None,
) -> Iterator[Server]:
    """Run a server, and yield it once it is ready. It sees none of our own settings.

    It starts on all cores, as a user's would; once it is ready, its API process runs on `cores`.
    `log` receives its standard error, which is shown otherwise.

    Raises:
        SystemExit: it ended, or was not ready in time.
    """
    started = time.perf_counter()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEEWAY_", "OTEL_"))}
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("wb")) if log else None
        with on_all_cores():
            process = subprocess.Popen(
                command,
                env={**kept, **(environment or {})},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        stack.callback(_end_session, process)
        while not _is_ready(port, ready_path):
            if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                reason = log.read_text(errors="replace").strip() if log else ""
                raise SystemExit(f"server {name} did not start: {' '.join(command)}\n{reason}")
            time.sleep(0.01)
        ready_s = time.perf_counter() - started
        for pid in [process.pid, *(descendants(process.pid) if children_answer else ())]:
            pin(pid, cores)
        yield Server(name, port, process.pid, ready_s, children_answer)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, and kill what it leaves behind."""
    stop_children([process], STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def on_all_cores() -> Iterator[None]:
    """Processes that start in the block may use all cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def pin(pid: int, cores: Collection[int]) -> None:
    """Run all threads of a process on these cores."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def pss_mib(pid: int) -> float:
    """Proportional set size of a process in MiB: its own memory, and its part of what it shares with others.

    Raises:
        LookupError: the kernel does not tell.
    """
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"/proc/{pid}/smaps_rollup has no Pss")
    return int(found[1]) / 1024


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def processor_s(pid: int) -> float:
    """Processor time of a process so far, of the system and the user, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # user and system time, see proc(5)


def _is_ready(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
