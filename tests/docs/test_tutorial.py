"""The tutorial: a reader who types it sees what it shows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.fenced import Step, steps

ROOT = Path(__file__).parents[2]
STEPS = steps(ROOT / "docs" / "tutorial.md")
LONGEST_S = 240
END_OF_STEP = "-- end of step --"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on: a reader's 8000 and 8001 may be taken here."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def script(ports: dict[str, int]) -> str:
    """All steps as one session of a shell that stops at the first failure."""
    parts = ["set -e -o pipefail", *(f"{step.commands}\necho '{END_OF_STEP}'" for step in STEPS)]
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", "\n".join(parts))


def environment(ports: dict[str, int]) -> dict[str, str]:
    """A reader's: `leeway` and `python3` on the path, nothing set but the ports."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    service, reports = ports.values()
    return kept | {"PATH": path, "LEEWAY_PORT": str(service), "LEEWAY_REPORTS_PORT": str(reports), "COLUMNS": "120"}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each step printed, in an empty folder; whatever it started is ended."""
    ports = dict(zip(("8000", "8001"), free_ports(2), strict=True))
    folder = tmp_path_factory.mktemp("tutorial")
    session = subprocess.Popen(
        ["bash", "-c", script(ports)],
        cwd=folder,
        env=environment(ports),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = session.communicate(timeout=LONGEST_S)
    finally:
        if session.poll() is None or _lives(session.pid):
            os.killpg(session.pid, signal.SIGKILL)
    return output.split(END_OF_STEP)


def _lives(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_step_was_taken(outputs: list[str]) -> None:
    """No command of the tutorial fails."""
    assert len(outputs) == len(STEPS) + 1, f"step {len(outputs)} failed:\n{outputs[-1]}"


@pytest.mark.parametrize("step", [each for each in STEPS if each.shown], ids=lambda step: f"step {step.number}")
def test_the_reader_sees_what_is_shown(outputs: list[str], step: Step) -> None:
    """A step prints what the tutorial shows below it."""
    assert len(outputs) >= step.number
    printed = outputs[step.number - 1]
    assert step.matches(printed), f"shown:\n{step.shown}\nprinted:\n{printed}"


def test_most_steps_show_what_comes() -> None:
    """The tutorial shows an output for each step but those that print nothing."""
    assert [each.number for each in STEPS if each.shown is None] == [len(STEPS)]


def test_an_output_that_differs_is_noticed() -> None:
    """`…` stands for anything, and all else must be there as shown."""
    step = Step(1, "", "a … c\nd…\n")
    assert step.matches("a b c\nd e\nf")
    assert not step.matches("a b x\nd")
    assert not step.matches("before a b c\nd")
