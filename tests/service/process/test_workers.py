from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.settings import ServiceSettings
from leeway.shutdown import STOP_SIGNALS
from service.process.workers import supervise
from tests.service.processes import (
    ROOT,
    SUPERVISED,
    TWO_WORKERS,
    WAIT_S,
    ended,
    environment,
    eventually,
    pid_of,
    running,
    starts,
)

pytestmark = pytest.mark.long

# --- workers that serve nothing -----------------------------------------------------------------------------------


class Toy:
    """The workers of `tests.service.process.toy`, in a process group of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def started(self, count: int) -> dict[int, int]:
        """Wait until `count` workers have started; return the latest process id of each worker."""
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(count)]
        return {int(worker): int(pid) for worker, pid in (line.split() for line in lines)}

    def ends_with(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the text on standard error."""
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors


@contextmanager
def toy(count: int, behaviour: str) -> Iterator[Toy]:
    """Run `count` workers; all of them are gone at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.process.toy", str(count), behaviour],
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
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """The process ids of the workers of `pid`, including half-started ones."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_all_workers(number: signal.Signals) -> None:
    """SIGTERM or SIGINT to the supervisor ends every worker; the exit code is 0."""
    with toy(2, "well") as workers:
        pids = workers.started(2)
        workers.process.send_signal(number)
        assert workers.ends_with() == (0, "")
        assert not any(map(is_alive, pids.values()))


@pytest.mark.parametrize("behaviour", ["well", "slowly"])
def test_ctrl_c_ends_all_workers(behaviour: str) -> None:
    """Ctrl-C, which a terminal sends to the whole group, ends all with 0 and no traceback, even half-started."""
    with toy(2, behaviour) as workers:
        if behaviour == "well":
            workers.started(2)
        else:
            assert eventually(lambda: len(children(workers.process.pid)) >= 2)
        os.killpg(workers.process.pid, signal.SIGINT)
        assert workers.ends_with() == (0, "")


def test_a_killed_worker_is_restarted() -> None:
    """Another process takes its place, and the log says so."""
    with toy(2, "well") as workers:
        first = workers.started(2)
        os.kill(first[1], signal.SIGKILL)
        (restarted,) = workers.started(1).items()
        workers.process.send_signal(signal.SIGTERM)
        code, errors = workers.ends_with()
    assert (restarted[0], restarted[1] != first[1], code) == (1, True, 0)
    assert json.loads(errors)["message"] == "worker 1 exited with -9; restarting it"


def test_a_worker_that_cannot_start_ends_all() -> None:
    """A restart would fail in the same way, so the others are stopped; the exit code is 2."""
    with toy(3, "one_cannot_start") as workers:
        assert workers.ends_with()[0] == 2
        assert eventually(lambda: members_of_group(workers.process.pid) == [])  # the resource tracker ends last


def members_of_group(group: int) -> list[int]:
    """The running processes of a process group."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if is_alive(pid) and group_of(pid) == group]


def group_of(pid: int) -> int:
    """The process group, 0 for a process that is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def test_a_worker_that_fails_while_it_stops_is_reported() -> None:
    """The exit code is 1."""
    with toy(2, "badly") as workers:
        workers.started(2)
        workers.process.send_signal(signal.SIGTERM)
        assert workers.ends_with()[0] == 1


def test_workers_do_not_outlive_their_supervisor() -> None:
    """If the supervisor is killed, the workers stop by themselves and release the port."""
    with toy(2, "well") as workers:
        pids = workers.started(2)
        workers.process.kill()
        assert eventually(lambda: not any(map(is_alive, pids.values())))


# --- the supervisor -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules of a process that has imported the supervisor."""
    program = "import sys, service.process.workers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["opentelemetry.sdk", "fastapi", "uvicorn", "numpy", "onnxruntime", "sqlalchemy"])
def test_the_supervisor_imports_nothing_that_only_workers_need(imported: set[str], module: str) -> None:
    """It lives as long as the service, so its memory counts."""
    assert "service.process.workers" in imported
    assert module not in imported


@pytest.mark.usefixtures("entry_point")
@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, ("/metrics", "OTEL_EXPORTER_OTLP_ENDPOINT")),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=service", "LEEWAY_METRICS_ENDPOINT": "off"},
            ("OTEL_RESOURCE_ATTRIBUTES",),
        ),
    ],
    ids=["/metrics", "one instance id"],
)
def test_settings_for_one_worker_only_are_rejected(
    variables: dict[str, str],
    named: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Workers cannot share `/metrics` or an instance id: the exit code is 2, one line says why and what to set."""
    for name, value in {"LEEWAY_PORT": "0", **variables}.items():
        monkeypatch.setenv(name, value)
    assert supervise(ServiceSettings.read(), workers=2) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(each in line for each in named)


def test_workers_without_a_bundle_are_not_restarted(bundle: Bundle, tmp_path: Path) -> None:
    """The exit code is 2, and plain lines say why."""
    env = environment(bundle, tmp_path, LEEWAY_METRICS_ENDPOINT="off", LEEWAY_BUNDLE=str(tmp_path / "nowhere"))
    done = ended(env, TWO_WORKERS)
    assert done.returncode == 2
    assert {line[:14] for line in done.stderr.splitlines()} == {"leeway serve: "}


def test_a_supervised_service_keeps_callers_waiting(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """Requests that arrive while a killed process is replaced are answered by the new one, not rejected."""
    with running(tmp_path, environment(bundle, tmp_path), SUPERVISED) as server:
        server.ask(example)
        (first,) = starts(server)
        os.kill(pid_of(first), signal.SIGKILL)
        assert len(server.ask(example, 5)) == 5
        assert len(starts(server)) == 2
        assert server.stop()[0] == 0
