"""The service with everything on, against a bare FastAPI route around the same model: `python -m benchmarks.serve`.

Four servers take turns under the same load: (a) this service with every trace sampled and exported to a local OTLP
receiver, (b) the same with OTEL_SDK_DISABLED=true, (c) a bare FastAPI route, (d) that route with OpenTelemetry's
instrumentation as its documentation sets it up. The API process runs on core 0, everything else on core 1.

Processor time per request comes first, because it does not depend on what else the machine does; rates are compared
between neighbouring rounds only. It exits 1 if a bound does not hold, and `--write` puts the tables into a page.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from benchmarks.bundle import make_bundle, requests, requests_by_customer
from benchmarks.load import open_loop, wire
from benchmarks.processes import Server, free_port, server
from benchmarks.wrk import CLIENT_CORE, Load, require_wrk, saturate, write_script
from leeway.data.population import population
from leeway.schema import CHURN_SCHEMA
from leeway.shutdown import stop_children
from leeway.store.engine import create_tables, open_engine
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.reader import SpoolReader
from service.spool.spool import Spool

BODIES = 2_000
BATCH_ROWS = 1_000
SPANS_PER_REQUEST = 2  # the server span and `score`; requests have features, so nothing is looked up
FLUSHED_S = 6.0  # the span processor exports every five seconds
OPEN_LOOP_RATES = (200, 1_000)
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Round:
    """One server under load: what the client saw, and processor time in seconds of the API process and of all."""

    load: Load
    api_s: float
    all_s: float

    @property
    def api_us(self) -> float:
        """Microseconds of the API process per request."""
        return self.api_s / self.load.requests * 1e6

    @property
    def all_us(self) -> float:
        """Microseconds of all the server's processes per request."""
        return self.all_s / self.load.requests * 1e6


@dataclass(frozen=True)
class Table:
    """The rounds of each server under one kind of load."""

    title: str
    rounds: Mapping[str, Sequence[Round]]

    def rate_ratio(self, over: str, under: str) -> float:
        """The median of the ratios of neighbouring rounds' rates."""
        pairs = zip(self.rounds[over], self.rounds[under], strict=True)
        return statistics.median(one.load.rate / other.load.rate for one, other in pairs)

    def median(self, name: str, field: str) -> float:
        """The median of `api_us` or `all_us` over the rounds of a server."""
        return float(statistics.median(getattr(each, field) for each in self.rounds[name]))

    def text(self) -> str:
        """A Markdown table: processor time as a multiple of that of (c), rates relative to (c)."""
        lines = [
            f"**{self.title}**",
            "",
            "| server | API µs/request | ÷ (c) | all µs/request | requests/s ÷ (c) | p99 ms | failed |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, rounds in self.rounds.items():
            api, whole = self.median(name, "api_us"), self.median(name, "all_us")
            p99_ms = statistics.median(each.load.p99_ms for each in rounds)
            failed = sum(each.load.failed for each in rounds)
            lines.append(
                f"| ({name}) | {api:.0f} | {api / self.median('c', 'api_us'):.2f} | {whole:.0f} |"
                f" {self.rate_ratio(name, 'c'):.2f} | {p99_ms:.2f} | {failed} |"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Bound:
    """What must hold of one figure."""

    name: str
    value: float
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.at_least <= self.value <= self.at_most

    def text(self) -> str:
        """A row of a Markdown table."""
        limit = f"≥ {self.at_least:g}" if math.isinf(self.at_most) else f"≤ {self.at_most:g}"
        return f"| {self.name} | {limit} | {self.value:.3g} | {'yes' if self.holds else '**no**'} |"


# --- the servers ----------------------------------------------------------------------------------------------------


@contextmanager
def four_servers(folder: Path, sink_port: int, database: str | None) -> Iterator[dict[str, Server]]:
    """All run at the same time; only one gets requests at a time."""
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink_port}", "LEEWAY_METRICS_ENDPOINT": "off"}
    bare = ["-m", "benchmarks.bare", str(folder / "bundle" / "model.onnx")]
    with ExitStack() as stack:

        def start(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Server:
            port = free_port()
            own = _service_environment(folder, name, port, database) if arguments == ["-m", "cli.main", "serve"] else {}
            arguments = arguments if own else [*arguments, str(port)]
            return stack.enter_context(server(name, arguments, port, {**own, **environment}))

        yield {
            "a": start("a", ["-m", "cli.main", "serve"], telemetry),
            "b": start("b", ["-m", "cli.main", "serve"], {"OTEL_SDK_DISABLED": "true"}),
            "c": start("c", bare, {}),
            "d": start("d", [*bare, "--instrumented"], telemetry),
        }


def _service_environment(folder: Path, name: str, port: int, database: str | None) -> dict[str, str]:
    return {
        "LEEWAY_PORT": str(port),
        "LEEWAY_BUNDLE": str(folder / "bundle"),
        "LEEWAY_DATABASE_URL": database or f"sqlite:///{folder / 'leeway.db'}",
        "LEEWAY_SPOOL": str(folder / f"{name}-spool"),
    }


def run_round(target: Server, script: Path, connections: int, seconds: float) -> Round:
    """Load one server, and take the processor time meanwhile."""
    api_before, all_before = target.processor_s()
    load = saturate(target.port, script, connections, seconds)
    api_after, all_after = target.processor_s()
    return Round(load, api_after - api_before, all_after - all_before)


def compare(
    title: str, servers: Mapping[str, Server], script: Path, connections: int, options: argparse.Namespace
) -> Table:
    """Load the servers in turn, round by round, and print the table."""
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for _ in range(options.rounds):
        for name, each in servers.items():
            rounds[name].append(run_round(each, script, connections, options.seconds))
    table = Table(title, rounds)
    print(f"\n{table.text()}", flush=True)
    return table


def spans_received(sink_port: int) -> int:
    """How many spans of (a) the receiver has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sink_port}/leeway-service", timeout=30) as answer:
        return int(answer.read())


# --- measurements ---------------------------------------------------------------------------------------------------


def saturated(
    servers: Mapping[str, Server], script: Path, sink_port: int, options: argparse.Namespace
) -> tuple[list[str], list[Bound]]:
    """Requests with features at 1, 8 and 32 connections."""
    tables, bounds = [], []
    for connections, least in ((1, 1.1), (8, 2.2), (32, 4.0)):
        before = spans_received(sink_port)
        only_ac = {name: each for name, each in servers.items() if connections > 1 or name in "ac"}
        table = compare(f"features, {connections} connection(s)", only_ac, script, connections, options)
        time.sleep(FLUSHED_S)
        sent = SPANS_PER_REQUEST * sum(each.load.requests for each in table.rounds["a"])
        print(f"\nspans of (a) that did not arrive: {1 - (spans_received(sink_port) - before) / sent:.1%}")
        tables.append(table.text())
        bounds.append(Bound(f"a/c, requests/s, {connections} connection(s)", table.rate_ratio("a", "c"), least))
        if connections > 1:
            bare_us = table.median("c", "api_us")
            telemetry = (table.median("a", "api_us") - table.median("b", "api_us")) / bare_us
            bounds.append(Bound(f"processor time of telemetry ÷ (c), {connections}", telemetry, at_most=0.08))
        if connections == 8:
            bounds.append(Bound("a/d, requests/s, 8 connections", table.rate_ratio("a", "d"), 6))
        if connections == 32:
            whole = table.median("a", "all_us") / table.median("c", "all_us")
            bounds.append(Bound("processor time of all processes ÷ (c), 32", whole, at_most=0.6))
    return tables, bounds


def by_customer(
    servers: Mapping[str, Server], features: Path, customers: Path, options: argparse.Namespace
) -> tuple[Table, list[Bound]]:
    """Requests by `user_id` to (a), next to requests with features to (c), which knows no customers."""
    rounds: dict[str, list[Round]] = {"a": [], "c": []}
    for _ in range(options.rounds):
        rounds["a"].append(run_round(servers["a"], customers, 32, options.seconds))
        rounds["c"].append(run_round(servers["c"], features, 32, options.seconds))
    table = Table("user_id, 32 connections", rounds)
    print(f"\n{table.text()}", flush=True)
    return table, [Bound("a by user_id ÷ c, requests/s, 32", table.rate_ratio("a", "c"), 1.5)]


def batches(servers: Mapping[str, Server], features: Path, batch: Path, options: argparse.Namespace) -> list[Bound]:
    """Batches of 1,000 to (a): processor time per row against that of a request to (c)."""
    rows, bare = [], []
    for _ in range(options.rounds):
        rows.append(run_round(servers["a"], batch, 1, options.seconds).api_us / BATCH_ROWS)
        bare.append(run_round(servers["c"], features, 1, options.seconds).api_us)
    of_row = statistics.median(rows) / statistics.median(bare)
    return [Bound("batch of 1,000: processor time of a row ÷ (c)", of_row, at_most=0.045)]


def arrivals(servers: Mapping[str, Server], wires: Sequence[bytes], options: argparse.Namespace) -> list[Bound]:
    """Poisson arrivals at a fixed rate, by a client in Python: the added latency of (a)."""
    bounds = []
    for rate in OPEN_LOOP_RATES:
        p99_ms: dict[str, list[float]] = {"a": [], "c": []}
        for turn in range(options.rounds):
            for name, of_server in p99_ms.items():
                load = open_loop(servers[name].port, wires, rate, options.open_loop_seconds, turn)
                of_server.append(load.quantile_ms(0.99))
        a_ms, c_ms = statistics.median(p99_ms["a"]), statistics.median(p99_ms["c"])
        print(f"\nopen loop, {rate} requests/s: p99 of (a) {a_ms:.1f} ms, of (c) {c_ms:.1f} ms", flush=True)
        bounds.append(Bound(f"open loop, {rate}/s: p99 of (a) - p99 of (c), ms", a_ms - c_ms, at_most=1))
    return bounds


def measure(
    folder: Path, servers: Mapping[str, Server], sink_port: int, options: argparse.Namespace
) -> tuple[list[str], list[Bound]]:
    """Measure and print everything; return the tables and the bounds."""
    bodies = requests(BODIES)
    features = write_script(folder, "features", "/predict", bodies)
    customers = write_script(folder, "customers", "/predict", requests_by_customer(BODIES))
    items = [json.loads(each) for each in bodies[:BATCH_ROWS]]
    batch = write_script(folder, "batch", "/predict/batch", [json.dumps({"items": items}).encode()])
    for each in servers.values():
        saturate(each.port, features, 8, 2)  # warm up
    time.sleep(FLUSHED_S)
    tables, bounds = saturated(servers, features, sink_port, options)
    if options.quick:
        return tables, bounds
    more, more_bounds = by_customer(servers, features, customers, options)
    tables.append(more.text())
    bounds += more_bounds + batches(servers, features, batch, options)
    bounds += arrivals(servers, [wire(body) for body in bodies], options)
    bare_rate = statistics.median(each.load.rate for each in more.rounds["c"])
    bounds.append(Bound("drainer alone ÷ c, rows/s, 32", drainer_rate(folder) / bare_rate, 4))
    bounds.append(Bound("memory of the API process, MiB", servers["a"].pss_mib(), at_most=110))
    bounds.append(Bound("start to ready, s", servers["a"].ready_s, at_most=2))
    return tables, bounds


# --- parts alone ----------------------------------------------------------------------------------------------------

DRAINED_ROWS = 50_000


def drainer_rate(folder: Path) -> float:
    """Rows per second from a full spool into an empty SQLite database, JSON and all."""
    engine = open_engine(f"sqlite:///{folder / 'drained.db'}")
    create_tables(engine, tables_for(CHURN_SCHEMA))
    features = CHURN_SCHEMA.row(population().row(0))
    record = PredictionRecord(
        "", datetime.now(UTC), "v", "u", None, features, 0.5, 1, 0, 0.001, 0.0001, "0" * 32, "0" * 16
    )
    with Spool(folder / "drained-spool", CHURN_SCHEMA, limit_bytes=2**30, fsync_always=False) as spool:
        for start in range(0, DRAINED_ROWS, 1_000):
            spool.append([replace(record, prediction_id=f"{place:036d}") for place in range(start, start + 1_000)])
        drainer = SpoolDrainer(SpoolReader(spool.path), PredictionWriter(engine).write, DrainerProbe())
        started = time.perf_counter()
        drainer.start()
        while spool.backlog():
            time.sleep(0.005)
        elapsed = time.perf_counter() - started
        drainer.stop(5)
    engine.dispose()
    return DRAINED_ROWS / elapsed


def main() -> int:
    """Measure and print everything; return 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--open-loop-seconds", type=float, default=12.0, help="of each round at a fixed rate")
    parser.add_argument("--quick", action="store_true", help="measure saturated servers only")
    parser.add_argument("--database", help="URL of an empty database, instead of SQLite in a file")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables to this page")
    options = parser.parse_args()
    require_wrk()
    os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_bundle(folder, options.database)
        sink_port = free_port()
        sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(sink_port)])
        try:
            with four_servers(folder, sink_port, options.database) as servers:
                tables, bounds = measure(folder, servers, sink_port, options)
        finally:
            stop_children([sink], STOP_TIMEOUT_S)
    head = ["| hold | bound | measured | holds |", "| --- | --- | --- | --- |"]
    summary = "\n".join([*head, *(each.text() for each in bounds)])
    print(f"\n{summary}")
    if options.write:
        options.write.write_text("\n\n".join([_HEAD, summary, *tables]) + "\n")
    return int(not all(each.holds for each in bounds))


_HEAD = """# Benchmarks of the service

Written by `python -m benchmarks.serve --write docs/benchmarks.md`. (a) is this service with every trace sampled and
exported, (b) the same without telemetry, (c) a bare FastAPI route around the same model, (d) that route with
OpenTelemetry's instrumentation. Absolute figures depend on the machine; compare the columns relative to (c)."""

if __name__ == "__main__":
    sys.exit(main())
