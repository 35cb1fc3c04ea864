from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from leeway.shutdown import STOP_SIGNALS, defer_stop_signals, on_stop_signal
from service.process.workers import listen

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0


@pytest.fixture
def _signals_kept() -> Iterator[None]:
    """Handlers are as before when the test ends."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Toy:
    """The workers of `tests.service.toy`, in a process group of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def begun(self, count: int) -> dict[int, int]:
        """Wait until so many have begun; return the process id of each by its number, the newest counting."""
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(count)]
        return {int(worker): int(pid) for worker, pid in (line.split() for line in lines)}

    def ends_with(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what stands on standard error."""
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors


@contextmanager
def toy(count: int, behaviour: str) -> Iterator[Toy]:
    """Run so many workers; all are gone at the end, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.toy", str(count), behaviour],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Toy(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the group is ours alone
        process.communicate()


def is_alive(pid: int) -> bool:
    """Whether the process runs (one that ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


# --- listening ------------------------------------------------------------------------------------------------------


def test_port_0_takes_a_free_one() -> None:
    """With port 0 the system chooses."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_an_ipv6_address_can_be_listened_on() -> None:
    """An address with colons is one of IPv6."""
    with listen("::1", 0) as listener:
        assert listener.family is socket.AF_INET6


def test_a_port_that_is_taken_is_refused() -> None:
    """The error names the address, the reason and the setting."""
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(.*in use\).*LEEWAY_PORT"):
            listen("127.0.0.1", port)


def test_an_address_that_is_none_is_refused() -> None:
    """So does the error on a host that cannot be found."""
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid:0 \("):
        listen("no.such.host.invalid", 0)


# --- being told to stop ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_signals_kept")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_stops(number: signal.Signals) -> None:
    """SIGTERM and SIGINT both call what was handed in."""
    calls: list[str] = []
    with on_stop_signal(lambda: calls.append("stop")):
        os.kill(os.getpid(), number)
    assert calls == ["stop"]


@pytest.mark.usefixtures("_signals_kept")
def test_a_signal_during_the_start_waits() -> None:
    """One that comes before is answered as soon as it can be."""
    calls: list[str] = []
    defer_stop_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == []
    with on_stop_signal(lambda: calls.append("stop")):
        assert calls == ["stop"]


@pytest.mark.usefixtures("_signals_kept")
def test_a_signal_during_the_end_is_ignored() -> None:
    """One that comes after, while all is flushed, does not cut that short."""
    calls: list[str] = []
    with on_stop_signal(lambda: calls.append("stop")):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == []


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """Where a request's thread never comes back, the process ends with its exit code all the same."""
    program = """
import sys, threading, time
from leeway.shutdown import force_exit_if_threads_remain
threading.Thread(target=time.sleep, args=(60,)).start()
print("served")
force_exit_if_threads_remain(0)
sys.exit(1)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "served\n")


# --- several workers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_all_workers_well(number: signal.Signals) -> None:
    """SIGTERM or SIGINT to the parent ends every worker, and the whole with 0."""
    with toy(2, "well") as workers:
        pids = workers.begun(2)
        workers.process.send_signal(number)
        assert workers.ends_with() == (0, "")
        assert not any(map(is_alive, pids.values()))


def test_ctrl_c_ends_all_workers_well() -> None:
    """Ctrl-C, which the terminal sends to every process of the group, ends the whole with 0 and no traceback."""
    with toy(2, "well") as workers:
        workers.begun(2)
        os.killpg(workers.process.pid, signal.SIGINT)
        assert workers.ends_with() == (0, "")


def test_ctrl_c_during_the_start_ends_all_workers_well() -> None:
    """The same while the workers are half-started."""
    with toy(2, "slowly") as workers:
        assert eventually(lambda: len(children(workers.process.pid)) >= 2)
        os.killpg(workers.process.pid, signal.SIGINT)
        assert workers.ends_with() == (0, "")


def children(pid: int) -> list[int]:
    """The process ids of the workers of `pid`, half-started ones included."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_killed_worker_is_started_again() -> None:
    """Where one dies, another takes its place, and the log says so."""
    with toy(2, "well") as workers:
        first = workers.begun(2)
        os.kill(first[1], signal.SIGKILL)
        (again,) = workers.begun(1).items()
        workers.process.send_signal(signal.SIGTERM)
        code, errors = workers.ends_with()
    assert (again[0], again[1] != first[1], code) == (1, True, 0)
    assert json.loads(errors)["message"] == "worker 1 exited with -9; restarting it"


def test_a_worker_that_cannot_start_ends_the_whole() -> None:
    """Another try would end the same, so the others are stopped, and the exit code is 2."""
    with toy(3, "one_cannot_start") as workers:
        assert workers.ends_with()[0] == 2
        assert eventually(lambda: not alive_in_group(workers.process.pid))


def alive_in_group(group: int) -> list[int]:
    """The processes that run in a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_worker_that_ends_badly_is_told() -> None:
    """Where a worker fails while it is stopped, the exit code is 1."""
    with toy(2, "badly") as workers:
        workers.begun(2)
        workers.process.send_signal(signal.SIGTERM)
        assert workers.ends_with()[0] == 1


def test_workers_do_not_outlive_their_parent() -> None:
    """Where the parent is killed, the workers stop by themselves and let go of the port."""
    with toy(2, "well") as workers:
        pids = workers.begun(2)
        workers.process.kill()
        assert eventually(lambda: not any(map(is_alive, pids.values())))
