"""A forked process is one like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import preloaded
from tests.preloaded import ROOT

PROBE = ("-m", "tests.probe_process")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


def started(*, forked: bool, command: str = "see", **options: Any) -> tuple[int, str, str]:  # noqa: ANN401 (handed on)
    """Exit code and output of the program, in a process of this kind."""
    arguments = [*PROBE, command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given: dict[str, Any] = {"cwd": ROOT, "env": dict(os.environ)} | pipes | options
    with (
        preloaded.start(arguments, **given) if forked else subprocess.Popen([sys.executable, *arguments], **given) as it
    ):
        output, errors = it.communicate("given" if "stdin" in given else None, timeout=60)
    return it.returncode, output, errors


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="by default"),
        pytest.param({"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}, id="streams"),
        pytest.param({"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}, id="no streams"),
        pytest.param({"start_new_session": True}, id="session"),
        pytest.param({"process_group": 0}, id="group"),
        pytest.param({"env": {**os.environ, "LEEWAY_BUNDLE": "here"}}, id="environment"),
        pytest.param({"env": {**os.environ, "PYTHONUNBUFFERED": ""}}, id="buffered"),
        pytest.param({"env": {**os.environ, "PYTHONUNBUFFERED": "1"}}, id="unbuffered"),
    ],
)
def test_a_fork_sees_what_a_new_interpreter_sees(options: dict[str, Any]) -> None:
    """Arguments, folder, environment, parent, session, group, signals and streams are the same."""
    new, fork = (json.loads(started(forked=forked, **options)[1]) for forked in (False, True))
    assert new["parent"] == os.getpid()
    assert fork == new


def test_blocked_signals_are_inherited() -> None:
    """A signal that the starting thread blocks is blocked in the process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        _, output, _ = started(forked=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert json.loads(output)["blocked signals"] == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("command", "code"), [("exit", 3), ("raise", 1), ("SIGINT", -2), ("SIGTERM", -15), ("SIGKILL", -9)]
)
def test_a_fork_ends_as_a_new_interpreter_ends(command: str, code: int) -> None:
    """Exit code, output, and the last line of a traceback are the same."""
    ends = [started(forked=forked, command=command) for forked in (False, True)]
    brief = [(code, output, errors.splitlines()[-1:]) for code, output, errors in ends]
    assert brief[0][0] == code
    assert brief[1] == brief[0]


@pytest.mark.parametrize(
    ("changes", "forks"),
    [({"LEEWAY_PORT": "0"}, True), ({"OTEL_PROPAGATORS": "none"}, False), ({"TERM": "new"}, False)],
)
def test_variables_that_imports_read_need_a_new_interpreter(changes: dict[str, str], forks: bool) -> None:  # noqa: FBT001
    """Where an import may read a variable that differs, the process imports everything itself."""
    with preloaded.start([*PROBE, "SIGSTOP"], cwd=ROOT, env={**os.environ, **changes}) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
    assert (b"tests.preloaded" in command) is forks
