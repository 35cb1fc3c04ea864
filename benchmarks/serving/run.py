"""One run of the benchmark of the service: its folder, the receiver, the servers, and rounds in which they take turns.

(a) is this service with every trace sampled and exported, (b) the same with OTEL_SDK_DISABLED=true, (c) a bare FastAPI
route around the same model, (d) that route with OpenTelemetry's instrumentation as its documentation sets it up.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bundle import requests, requests_by_customer
from benchmarks.serving.figures import Round, Table
from benchmarks.serving.processes import SERVER_CORE, Server, client_core, descendants, free_port, pin, server
from benchmarks.serving.sink import RunningSink
from benchmarks.serving.wrk import Load, saturate, write_script

BODIES = 2_000
BATCH_ROWS = 1_000
A, B, C, D = "(a)", "(b)", "(c)", "(d)"
SERVE = (sys.executable, "-m", "cli.main", "serve")
BARE = (sys.executable, "-m", "benchmarks.serving.bare")
WARM_UP_S = 2.0
DRAINER_TIMEOUT_S = 20.0


@dataclass
class Run:
    """What all parts of a run share; `rounds` of `seconds` each are alternated between servers."""

    folder: Path
    sink: RunningSink
    rounds: int
    seconds: float
    minute_s: float = 60.0
    """Seconds of the measurements that take a minute by default."""
    bare_rates: list[float] = field(default_factory=list)
    """Requests per second of (c) at 32 connections."""

    def __post_init__(self) -> None:
        bodies = requests(BODIES)
        items = [json.loads(each) for each in bodies[:BATCH_ROWS]]
        self.bodies = bodies
        self.features = write_script(self.folder, "features", "/predict", bodies)
        self.customers = write_script(self.folder, "customers", "/predict", requests_by_customer(BODIES))
        self.batch = write_script(self.folder, "batch", "/predict/batch", [json.dumps({"items": items}).encode()])

    @property
    def sqlite_url(self) -> str:
        """The database with the customers' snapshots."""
        return f"sqlite:///{self.folder / 'leeway.db'}"

    def spool(self, name: str) -> Path:
        """The folder of a service's spool."""
        return self.folder / f"{name.strip('()')}-spool"

    @contextmanager
    def servers(self, names: str, database_url: str = "") -> Iterator[dict[str, Server]]:
        """Run the servers named by these letters, each warm; only one should get requests at a time."""
        with ExitStack() as stack:
            found = {f"({name})": stack.enter_context(self.start(f"({name})", database_url)) for name in names}
            for each in found.values():
                saturate(each.port, self.features, 8, WARM_UP_S)
            yield found

    @contextmanager
    def start(
        self,
        name: str,
        database_url: str = "",
        options: tuple[str, ...] = (),
        cores: Collection[int] = (SERVER_CORE,),
    ) -> Iterator[Server]:
        """Run one of the four servers, with `options` of `leeway serve`."""
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.sink.port}"}
        telemetry["LEEWAY_METRICS_ENDPOINT"] = "off"
        port = free_port()
        if name in {A, B}:
            command = [*SERVE, *options]
            environment = {
                "LEEWAY_PORT": str(port),
                "LEEWAY_BUNDLE": str(self.folder / "bundle"),
                "LEEWAY_DATABASE_URL": database_url or self.sqlite_url,
                "LEEWAY_SPOOL": str(self.spool(name)),
            } | (telemetry if name == A else {"OTEL_SDK_DISABLED": "true"})
        else:
            model = str(self.folder / "bundle" / "model.onnx")
            command = [*BARE, model, str(port), *(["--instrumented"] if name == D else [])]
            environment = telemetry if name == D else {}
        with server(name, command, port, environment, cores=cores) as running:
            if name in {A, B}:
                wait_until(running.has_drainer, DRAINER_TIMEOUT_S, "the start of the drainer")
                for pid in descendants(running.pid):  # with several workers these are children, too
                    pin(pid, {client_core()} if pid == running.drainer() else cores)
            yield running

    def turn(self, target: Server, script: Path, connections: int) -> Round:
        """Load one server for a round, and take the processor time meanwhile."""
        return measured(target, script, connections, self.seconds)

    def compare(
        self,
        title: str,
        servers: Mapping[str, Server],
        connections: int,
        scripts: Mapping[str, Path] | None = None,
        baseline: str = C,
    ) -> Table:
        """Load the servers in turn, round by round, with features or with their own script."""
        rounds: dict[str, list[Round]] = {name: [] for name in servers}
        for _ in range(self.rounds):
            for name, each in servers.items():
                rounds[name].append(self.turn(each, (scripts or {}).get(name, self.features), connections))
        return Table(title, rounds, baseline)

    def bare_rate(self) -> float:
        """The median of the requests per second of (c) at 32 connections; measured if no part has done so."""
        if not self.bare_rates:
            with self.servers("c") as servers:
                table = self.compare("", servers, 32)
            self.bare_rates += [each.load.rate for each in table.rounds[C]]
        return statistics.median(self.bare_rates)


def measured(target: Server, script: Path, connections: int, seconds: float) -> Round:
    """Saturate a server, and take its processor time meanwhile."""
    api_before, all_before = target.processor_s()
    load: Load = saturate(target.port, script, connections, seconds)
    api_after, all_after = target.processor_s()
    return Round(load, api_after - api_before, all_after - all_before)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait until a function returns True; return the seconds that it took.

    Raises:
        SystemExit: that took longer than `timeout_s`.
    """
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > timeout_s:
            raise SystemExit(f"{what} took more than {timeout_s:.0f} s")
        time.sleep(0.01)
    return time.perf_counter() - started
