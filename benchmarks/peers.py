"""This service against MLServer, BentoML and LitServe with the same ONNX model: `python -m benchmarks.peers`.

Each of them gets a virtual environment in `--environments`, made from the package index the first time, which takes
minutes and about 900 MB. All processes of a server run on one core, `wrk` and our drainer on another. It exits 1 if a
bound does not hold or a server could not be measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.bundle import make_bundle
from benchmarks.serving.figures import Report, Table
from benchmarks.serving.page import PAGE, provenance, write_section
from benchmarks.serving.processes import Server, client_core, free_port, server
from benchmarks.serving.run import WARM_UP_S, A, Run
from benchmarks.serving.sink import running_sink
from benchmarks.serving.wrk import require_wrk, saturate

ENVIRONMENTS = Path("var/peers")
ROOT = Path(__file__).parents[1]
CONNECTIONS = (1, 8, 32)
OURS = "Leeway"
SHARED = ("onnxruntime", "numpy")
"""Installed in the versions of our own environment, so that the model itself costs the same."""


class CannotInstall(Exception):
    """A peer cannot be installed; the message says why."""


@dataclass(frozen=True)
class Start:
    """How to start a server: the command after the environment's folder of programs, and settings."""

    command: tuple[str, ...]
    ready_path: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A model server from the package index; `at_least` bounds our requests/s over its own at 8 connections."""

    name: str
    requirement: str
    at_least: float | None

    def start(self, folder: Path, model: Path, port: int) -> Start:
        """The command that serves `model` on `port`; `folder` is for configuration files."""
        if self.name == "MLServer":
            return _mlserver(folder, model, port)
        if self.name == "BentoML":
            target = "benchmarks.serving.peers.bentoml_server:Predictions"
            command = ("bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port))
            return Start(command, "/readyz", {"MODEL": str(model), "BENTOML_DO_NOT_TRACK": "True"})
        return Start(("python", "-m", "benchmarks.serving.peers.litserve_server", str(model), str(port)), "/health")


PEERS = (
    Peer("MLServer", "mlserver==1.7.1", at_least=5),
    Peer("BentoML", "bentoml==1.4.40", at_least=12),
    Peer("LitServe", "litserve==0.2.19", at_least=None),
)


def _mlserver(folder: Path, model: Path, port: int) -> Start:
    """Without its pool of processes, which would send each request to another process, and without access log."""
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"parallel_workers": 0, "debug": False, "use_structured_logging": False}
    implementation = "benchmarks.serving.peers.mlserver_server.Predictions"
    model_settings = {"name": "churn", "implementation": implementation, "parameters": {"uri": str(model)}}
    (folder / "settings.json").write_bytes(msgspec.json.encode(settings))
    (folder / "model-settings.json").write_bytes(msgspec.json.encode(model_settings))
    return Start(("mlserver", "start", str(folder)), "/v2/health/ready")


def install(peer: Peer, environments: Path) -> Path:
    """The folder of programs of the peer's environment, which is made if it is missing.

    Raises:
        CannotInstall: the package index does not have it, or is unreachable.
    """
    folder = environments / peer.requirement.replace("==", "-")
    finished = folder / "installed"
    if not finished.exists():
        print(f"installing {peer.requirement} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        shared = [f"{name}=={importlib.metadata.version(name)}" for name in SHARED]
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", peer.requirement, *shared]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
            raise CannotInstall(f"{peer.requirement} cannot be installed from the package index: {reason}")
        finished.touch()
    return folder.resolve() / "bin"


@contextmanager
def running(peer: Peer, programs: Path, run: Run) -> Iterator[Server]:
    """Serve the model with a peer."""
    folder, port = run.folder / peer.name, free_port()
    folder.mkdir()
    start = peer.start(folder, run.folder / "bundle" / "model.onnx", port)
    settings = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **start.settings}
    command = [str(programs / start.command[0]), *start.command[1:]]
    with server(
        peer.name,
        command,
        port,
        settings,
        ready_path=start.ready_path,
        children_answer=True,
        log=folder / "log",
    ) as found:
        yield found


def compare(run: Run, report: Report, environments: Path) -> bool:
    """Let this service and the peers take turns; return whether all of them could be measured."""
    with ExitStack() as stack:
        servers = {OURS: stack.enter_context(run.start(A))}
        for peer in PEERS:
            try:
                servers[peer.name] = stack.enter_context(running(peer, install(peer, environments), run))
            except CannotInstall as error:
                report.add(f"{peer.name}: not measured, {error}")
        for each in servers.values():
            saturate(each.port, run.features, 8, WARM_UP_S)
        for connections in CONNECTIONS:
            table = run.compare(f"features, {connections} connection(s)", servers, connections, baseline=OURS)
            report.add(table.text())
            check(table, connections, report)
    return len(servers) == 1 + len(PEERS)


def check(table: Table, connections: int, report: Report) -> None:
    """Check the bounds at 8 connections, and that every request was answered: an error costs less than an answer."""
    for name, rounds in table.rounds.items():
        if failed := sum(each.load.failed for each in rounds):
            report.check(f"failed requests of {name}, {connections} connection(s)", failed, at_most=0)
    for peer in PEERS if connections == 8 else ():
        if peer.at_least is not None and peer.name in table.rounds:
            ratio = table.rate_ratio(OURS, peer.name)
            report.check(f"{OURS} ÷ {peer.name}, requests/s, 8 connections", ratio, at_least=peer.at_least)


def main() -> int:
    """Measure and print everything; return 1 if a bound does not hold or a peer is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often the servers take turns (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (default 3)")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help=f"default {ENVIRONMENTS}")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"write to {PAGE} too")
    options = parser.parse_args()
    require_wrk()
    os.sched_setaffinity(0, {client_core()})
    report = Report()
    with tempfile.TemporaryDirectory() as temporary, running_sink() as sink:
        make_bundle(Path(temporary))
        run = Run(Path(temporary), sink, options.rounds, options.seconds)
        is_complete = compare(run, report, options.environments)
    print(f"\n{report.summary()}")
    if options.write:
        command = f"python -m benchmarks.peers --rounds {options.rounds} --seconds {options.seconds:g}"
        versions = ", ".join(peer.requirement.replace("==", " ") for peer in PEERS)
        write_section(options.write, "peers", f"{provenance(command)} {versions}.\n\n{report.text()}")
    return int(not (report.holds and is_complete))


if __name__ == "__main__":
    sys.exit(main())
