"""The tutorials work: each command runs, and prints what the page shows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks.postgresql import NoPostgreSQL, a_postgresql

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240
Outputs: TypeAlias = Callable[[str], list[str]]
END_OF_STEP = "-- end of step --"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A shell block and the output shown below it, if any."""

    number: int
    commands: str
    shown: str | None

    def matches(self, output: str) -> bool:
        """Whether `output` is as shown; `…` matches any text, also across lines."""
        pattern = ".*?".join(map(re.escape, (self.shown or "").strip().split("…")))
        return re.fullmatch(pattern, output.strip(), flags=re.DOTALL) is not None


def steps(document: Path) -> list[Step]:
    """The document's shell blocks in order.

    Raises:
        ValueError: a block is neither `sh` nor its `output`.
    """
    found: list[Step] = []
    for kind, text in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if kind == "sh":
            found.append(Step(len(found) + 1, text, None))
        elif kind == "output" and found and found[-1].shown is None:
            found[-1] = Step(found[-1].number, found[-1].commands, text)
        else:
            raise ValueError(f"unexpected block {kind!r} below step {len(found)}: use sh or output")
    return found


SERVICE = "tutorial-service"
TUTORIALS = {
    name: steps(ROOT / "docs" / f"{name}.md") for name in ("tutorial", "tutorial-classes", "tutorial-numbers", SERVICE)
}
EACH = pytest.mark.parametrize("tutorial", TUTORIALS)
SHOWN = [
    pytest.param(name, each, id=f"{name} step {each.number}")
    for name, steps in TUTORIALS.items()
    for each in steps
    if each.shown
]


def free_ports(count: int) -> list[int]:
    """Free ports, because 8000 and 8001 may be taken here."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def script(steps: Sequence[Step], ports: Mapping[str, int]) -> str:
    """All steps as one shell script that stops at the first failure."""
    parts = ["set -e -o pipefail", *(f"{step.commands}\necho '{END_OF_STEP}'" for step in steps)]
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", "\n".join(parts))


def environment(ports: Mapping[str, int], database: str | None) -> dict[str, str]:
    """A reader's environment: `leeway` and `python3` on the path, and only the ports and a database set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_", "DATABASE_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    service, reports = ports.values()
    given = {"PORT": str(service)}
    if database is not None:
        given["DATABASE_URL"] = database.replace("+psycopg", "")
    return (
        kept
        | given
        | {"PATH": path, "LEEWAY_PORT": str(service), "LEEWAY_REPORTS_PORT": str(reports), "COLUMNS": "120"}
    )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """What each step of a tutorial prints. Each tutorial is run once; one uses PostgreSQL where it is installed."""

    def printed(tutorial: str) -> list[str]:
        folder = tmp_path_factory.mktemp(tutorial)
        if tutorial != SERVICE:
            return run(TUTORIALS[tutorial], folder)
        with ExitStack() as stack:
            database = None
            with suppress(NoPostgreSQL):
                database = stack.enter_context(a_postgresql())
            return run(TUTORIALS[tutorial], folder, database)

    return cache(printed)


def run(steps: Sequence[Step], folder: Path, database: str | None = None) -> list[str]:
    """What each step prints in an empty folder; all its processes are ended."""
    ports = dict(zip(("8000", "8001"), free_ports(2), strict=True))
    session = subprocess.Popen(
        ["bash", "-c", script(steps, ports)],
        cwd=folder,
        env=environment(ports, database),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = session.communicate(timeout=TIMEOUT_S)
    finally:
        if session.poll() is None or _exists(session.pid):
            os.killpg(session.pid, signal.SIGKILL)
    return output.split(END_OF_STEP)


def _exists(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
@EACH
def test_every_step_succeeds(outputs: Outputs, tutorial: str) -> None:
    """No command of the tutorial fails."""
    printed = outputs(tutorial)
    assert len(printed) == len(TUTORIALS[tutorial]) + 1, f"step {len(printed)} failed:\n{printed[-1]}"


@pytest.mark.long
@pytest.mark.parametrize(("tutorial", "step"), SHOWN)
def test_the_reader_sees_what_is_shown(outputs: Outputs, tutorial: str, step: Step) -> None:
    """Each step prints what the tutorial shows below it."""
    assert len(outputs(tutorial)) >= step.number
    printed = outputs(tutorial)[step.number - 1]
    assert step.matches(printed), f"shown:\n{step.shown}\nprinted:\n{printed}"


@EACH
def test_steps_show_their_output(tutorial: str) -> None:
    """A tutorial shows the output of each step except the last, which prints nothing."""
    steps = TUTORIALS[tutorial]
    assert [each.number for each in steps if each.shown is None] == [len(steps)]


def test_a_different_output_is_noticed() -> None:
    """`…` matches any text; all other text must match exactly."""
    step = Step(1, "", "a … c\nd…\n")
    assert step.matches("a b c\nd e\nf")
    assert not step.matches("a b x\nd")
    assert not step.matches("before a b c\nd")
