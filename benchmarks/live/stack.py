"""The stack of compose.yaml: start it as a project of its own, kill parts of it, remove it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx2

from benchmarks.live.ports import PORTS

ROOT = Path(__file__).parents[2]
SERVICE, REPORTS, PROMETHEUS, JAEGER, ALERTMANAGER, PREFECT = (
    f"http://127.0.0.1:{PORTS[service]}"
    for service in ("service", "drift", "prometheus", "jaeger", "alertmanager", "prefect-server")
)
DRIFT_INTERVAL_S = 10
READY_S = 120
"""The design's limit: ready in under two minutes with images present."""

T = TypeVar("T")


class StackError(AssertionError):
    """Docker or a program in the stack failed; the message has its output."""


def docker_is_here() -> bool:
    """Whether Docker is running and has Compose."""
    return (
        shutil.which("docker") is not None and _succeeds("docker", "info") and _succeeds("docker", "compose", "version")
    )


def get(url: str, **parameters: object) -> httpx2.Response:
    """Send a request to a published port, ignoring proxies of the environment."""
    return httpx2.get(url, params={name: str(value) for name, value in parameters.items()}, timeout=10, trust_env=False)


def eventually(ask: Callable[[], T], within_s: float, every_s: float = 0.5) -> T:
    """Repeat a call until its result is true and it raises no error, and return the result.

    Raises:
        StackError: the time is over; the message has the last result.
    """
    deadline_s = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline_s:
        try:
            answer = ask()
        except (httpx2.HTTPError, StackError, LookupError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        time.sleep(every_s)
    raise StackError(f"not within {within_s:.0f} s; the last result was {last!r}")


@dataclass
class Stack:
    """A Compose project with one profile. `without` names services whose images this machine does not have."""

    project: str
    without: frozenset[str]
    overrides: Sequence[Path] = ()
    profile: str = "alerts"
    environment: Mapping[str, str] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    ready_after_s: float = 0.0

    def compose(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run `docker compose …` and return what it printed.

        Raises:
            StackError: it failed.
        """
        files = [part for path in ("compose.yaml", *map(str, self.overrides)) for part in ("--file", path)]
        command = ["docker", "compose", "--project-name", self.project, *files, "--profile", self.profile, *arguments]
        environment = os.environ | {"LEEWAY_DRIFT_INTERVAL": str(DRIFT_INTERVAL_S), "LEEWAY_FAULTS": "on"}
        environment |= self.environment
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise StackError(f"{' '.join(command)}\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}")
        return done.stdout

    def up(self) -> None:
        """Build and start everything, and wait until the API is ready, `ready_after_s` after the start."""
        self.compose("build", timeout_s=1_200)
        self.services = sorted(set(self.compose("config", "--services").split()) - self.without)
        began_s = time.monotonic()
        self.compose("up", "--detach", *self.services, timeout_s=READY_S)
        eventually(lambda: get(f"{SERVICE}/health/ready").is_success, READY_S)
        self.ready_after_s = time.monotonic() - began_s

    def down(self) -> None:
        """Stop and remove everything, including volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def kill(self, service: str) -> None:
        """Kill a container, as a crash or a lost machine would; nothing restarts it."""
        self.compose("kill", "--signal", "KILL", service)

    def start(self, service: str) -> None:
        """Start a killed container."""
        self.compose("start", service)

    def restart(self, service: str) -> None:
        """Stop a container as an operator would, with time to finish its work, and start it again."""
        self.compose("restart", service)

    def execute(self, service: str, *command: str) -> str:
        """Run a command inside a running container."""
        return self.compose("exec", "--no-TTY", service, *command)

    def python(self, service: str, source: str) -> str:
        """Run Python inside one of our containers."""
        return self.execute(service, "python", "-c", source)

    def sql(self, query: str) -> list[str]:
        """The rows of a query as lines."""
        return self.execute("postgres", "psql", "-U", "leeway", "-At", "-c", query).splitlines()

    def logs(self, service: str) -> str:
        """A container's logs."""
        return self.compose("logs", "--no-log-prefix", service)

    def memory_mib(self) -> dict[str, float]:
        """The memory of each running container in MiB."""
        ids = self.compose("ps", "--quiet").split()
        lines = _run("docker", "stats", "--no-stream", "--format", "{{json .}}", *ids).splitlines()
        used = {each["Name"]: each["MemUsage"].split("/")[0].strip() for each in map(json.loads, lines)}
        return {name.removeprefix(f"{self.project}-").removesuffix("-1"): _mib(amount) for name, amount in used.items()}

    def image_megabytes(self) -> dict[str, float]:
        """The size of each of our images and of their base in MB."""
        names = ("leeway-service", "leeway-drift", "leeway-otel-collector", "leeway-jaeger", "python:3.13-slim")
        sizes = _run("docker", "image", "inspect", "--format", "{{.Size}}", *names).split()
        return {name: int(size) / 1e6 for name, size in zip(names, sizes, strict=True)}


def _mib(amount: str) -> float:
    for unit, factor in (("GiB", 1_024.0), ("MiB", 1.0), ("KiB", 1 / 1_024), ("B", 1 / 2**20)):
        if amount.endswith(unit):
            return float(amount.removesuffix(unit)) * factor
    raise StackError(f"docker stats says {amount!r}")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
