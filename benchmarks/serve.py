"""The cost of telemetry, and of everything around the model: `python -m benchmarks.serve`.

It measures three servers in turn: (a) this service with every trace sampled and exported to a local OTLP receiver, (b)
the same with OTEL_SDK_DISABLED=true, (c) a bare FastAPI route around the same model. It exits 1 if a bound does not
hold.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from benchmarks.bundle import make_bundle, requests
from benchmarks.load import Load, open_loop, saturate, wire
from leeway.data.population import population
from leeway.model import bundle as bundles
from leeway.schema import CHURN_SCHEMA
from leeway.shutdown import stop_children
from leeway.store.engine import create_tables, open_engine
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.reader import SpoolReader
from service.spool.spool import Spool

SPANS_PER_REQUEST = 2  # the server span and `score`; requests have features, so nothing is looked up
STOP_TIMEOUT_S = 20.0
FLUSHED_S = 6.0  # the span processor exports every five seconds
OPEN_LOOP_ROUNDS = 5
OPEN_LOOP_S = 6.0
BOUNDS = (
    "a/b >= 0.35 (1)",
    "a/b >= 0.35 (8)",
    "b/c >= 0.6 (1)",
    "b/c >= 0.6 (8)",
    "p99 of a <= 3 x p99 of b, open loop",
    "PSS of a <= 150 MiB",
    "batch rows/s >= 50 x single",
    "start to ready <= 3 s",
    "unusual count <= 10 us",
    "drainer >= 5 x single-request rate",
)


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    ready_s: float


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def server(name: str, command: list[str], port: int, environment: dict[str, str]) -> Iterator[Server]:
    """Run a server; yield it once it is ready."""
    started = time.perf_counter()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEEWAY_", "OTEL_"))}
    process = subprocess.Popen([sys.executable, *command], env=kept | environment, stdout=subprocess.DEVNULL)
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - started > 60:
                raise SystemExit(f"server {name} did not start")
            time.sleep(0.01)
        yield Server(name, port, process.pid, time.perf_counter() - started)
    finally:
        stop_children([process], STOP_TIMEOUT_S)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def pss_mib(pid: int) -> float:
    """Proportional set size of a process in MiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) / 1024  # type: ignore[index]


def service_environment(folder: Path, name: str, port: int) -> dict[str, str]:
    """The service's settings, with a database and a spool for each variant."""
    return {
        "LEEWAY_PORT": str(port),
        "LEEWAY_BUNDLE": str(folder / "bundle"),
        "LEEWAY_DATABASE_URL": f"sqlite:///{folder / name}.db",
        "LEEWAY_SPOOL": str(folder / f"{name}-spool"),
    }


@contextmanager
def three_servers(folder: Path, sink_port: int) -> Iterator[dict[str, Server]]:
    """(a), (b) and (c) run at the same time; only one gets requests at a time."""
    a, b, c = free_port(), free_port(), free_port()
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink_port}", "LEEWAY_METRICS_ENDPOINT": "off"}
    with ExitStack() as stack:
        yield {
            "a": stack.enter_context(
                server("a", ["-m", "cli.main", "serve"], a, service_environment(folder, "a", a) | telemetry)
            ),
            "b": stack.enter_context(
                server(
                    "b",
                    ["-m", "cli.main", "serve"],
                    b,
                    service_environment(folder, "b", b) | {"OTEL_SDK_DISABLED": "true"},
                )
            ),
            "c": stack.enter_context(
                server("c", ["-m", "benchmarks.bare", str(folder / "bundle" / "model.onnx"), str(c)], c, {})
            ),
        }


def saturated(
    servers: dict[str, Server], wires: list[bytes], connections: int, rounds: int, seconds: float
) -> dict[str, list[Load]]:
    """Measure the servers in turn, round by round."""
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, each in servers.items():
            loads[name].append(saturate(each.port, wires, connections, seconds))
    return loads


def ratio(loads: dict[str, list[Load]], over: str, under: str) -> float:
    """The median of the ratios of neighbouring rounds."""
    return statistics.median(x.rate / y.rate for x, y in zip(loads[over], loads[under], strict=True))


def spans_received(sink_port: int) -> int:
    """How many spans the receiver has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sink_port}", timeout=5) as answer:
        return int(answer.read())


def main() -> int:
    """Measure and print everything; return 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    holds: list[bool] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_bundle(folder)
        wires = [wire(body) for body in requests(2_000)]
        sink_port = free_port()
        sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(sink_port)])
        try:
            with three_servers(folder, sink_port) as servers:
                holds = measure(folder, servers, wires, sink_port, options.rounds, options.seconds)
        finally:
            stop_children([sink], STOP_TIMEOUT_S)
    print("\n" + "\n".join(f"{'ok    ' if ok else 'FAILED'} {bound}" for bound, ok in zip(BOUNDS, holds, strict=True)))
    return int(not all(holds))


def measure(
    folder: Path, servers: dict[str, Server], wires: list[bytes], sink_port: int, rounds: int, seconds: float
) -> list[bool]:
    """Measure and print everything; return which of BOUNDS hold."""
    for each in servers.values():
        saturate(each.port, wires, 4, 1.0)  # warm up
    time.sleep(FLUSHED_S)
    one = report_saturated(servers, wires, sink_port, 1, rounds, seconds)
    eight = report_saturated(servers, wires, sink_port, 8, rounds, seconds)
    fastest = max(statistics.median(load.rate for load in loads["a"]) for loads in (one, eight))
    p99_ms = report_open_loop(servers, wires)
    memory_mib = {name: pss_mib(each.pid) for name, each in servers.items()}
    print("\nPSS: " + ", ".join(f"({name}) {mib:.0f} MiB" for name, mib in memory_mib.items()))
    print("start to ready: " + ", ".join(f"({each.name}) {each.ready_s:.2f} s" for each in servers.values()))
    rates = batch_rates(servers["a"].port, folder / "a-spool", wires, rounds, seconds)
    print(f"batches of 1,000 with (a): {rates.batch:,.0f} rows/s; single: {rates.single:,.0f}; {rates.ratio:.0f} x")
    unusual_us, drained = unusual_microseconds(folder / "bundle"), drainer_rate(folder)
    print(f"unusual features of one request: {unusual_us:.1f} us")
    print(f"drainer into SQLite: {drained:,.0f} rows/s, {drained / fastest:.1f} x the best rate of (a)")
    return [
        ratio(one, "a", "b") >= 0.35,
        ratio(eight, "a", "b") >= 0.35,
        ratio(one, "b", "c") >= 0.6,
        ratio(eight, "b", "c") >= 0.6,
        p99_ms["a"] <= 3 * p99_ms["b"],
        memory_mib["a"] <= 150,
        rates.ratio >= 50,
        max(servers[name].ready_s for name in "ab") <= 3,
        unusual_us <= 10,
        drained >= 5 * fastest,
    ]


def report_saturated(
    servers: dict[str, Server], wires: list[bytes], sink_port: int, connections: int, rounds: int, seconds: float
) -> dict[str, list[Load]]:
    """Measure and print the saturated rate with `connections` connections."""
    before = spans_received(sink_port)
    loads = saturated(servers, wires, connections, rounds, seconds)
    expected = SPANS_PER_REQUEST * sum(len(load.latencies_s) for load in loads["a"])
    time.sleep(FLUSHED_S)
    dropped = max(0.0, 1 - (spans_received(sink_port) - before) / expected)
    print(f"\nsaturated, {connections} connection(s): requests/s, median of {rounds} rounds")
    for name, measured in loads.items():
        rate = statistics.median(load.rate for load in measured)
        p99_ms = statistics.median(load.quantile_ms(0.99) for load in measured)
        print(f"  ({name}) {rate:8.0f}   p99 {p99_ms:6.2f} ms   failed {sum(load.failed for load in measured)}")
    shown = "   ".join(f"{over}/{under} {ratio(loads, over, under):.2f}" for over, under in ("ab", "ac", "bc"))
    print(f"  {shown}   spans dropped by (a): {dropped:.1%} of {expected:,}")
    return loads


def report_open_loop(servers: dict[str, Server], wires: list[bytes]) -> dict[str, float]:
    """Measure and print 200 requests/s with each server in turn; return the median p99 of each in milliseconds."""
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for turn in range(OPEN_LOOP_ROUNDS):
        for name, each in servers.items():
            loads[name].append(open_loop(each.port, wires, 200, OPEN_LOOP_S, seed=turn))
    print(f"\nopen loop, 200 requests/s, Poisson arrivals, median of {OPEN_LOOP_ROUNDS} rounds")
    p99_ms = {}
    for name, measured in loads.items():
        quantiles = {
            share: statistics.median(load.quantile_ms(share) for load in measured) for share in (0.5, 0.99, 0.999)
        }
        shown = "   ".join(f"p{share * 100:g} {quantile:6.2f} ms" for share, quantile in quantiles.items())
        print(f"  ({name}) {shown}   failed {sum(load.failed for load in measured)}")
        p99_ms[name] = quantiles[0.99]
    return p99_ms


# --- batches --------------------------------------------------------------------------------------------------------

BATCH_ROWS = 1_000
DRAIN_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class BatchRates:
    """Rows per second, medians over the rounds; `ratio` is the median of the ratios of single rounds."""

    single: float
    batch: float
    ratio: float


def batch_rates(port: int, spool: Path, wires: list[bytes], rounds: int, seconds: float) -> BatchRates:
    """Measure single requests, then batches of 1,000, over one connection, each with an empty spool at the start.

    Only neighbouring rounds are compared, because a shared machine is faster at some times than at others.
    """
    items = [json.loads(each.split(b"\r\n\r\n", 1)[1]) for each in wires[:BATCH_ROWS]]
    batch_wire = wire(json.dumps({"items": items}).encode(), "/predict/batch")
    single, batch = [], []
    for _ in range(rounds):
        wait_until_drained(spool)
        single.append(saturate(port, wires, 1, seconds).rate)
        wait_until_drained(spool)
        batch.append(saturate(port, [batch_wire], 1, seconds).rate * BATCH_ROWS)
    of_rounds = statistics.median(many / one for one, many in zip(single, batch, strict=True))
    return BatchRates(statistics.median(single), statistics.median(batch), of_rounds)


def wait_until_drained(spool: Path) -> None:
    """Wait until the spool is empty; its drainer runs in the measured process."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    reader = SpoolReader(spool)
    while not reader.is_empty():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{spool} was not drained within {DRAIN_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


# --- parts alone ----------------------------------------------------------------------------------------------------

DRAINED_ROWS = 50_000


def unusual_microseconds(folder: Path, calls: int = 20_000) -> float:
    """The median over ten rounds of the time to count the unusual features of one request."""
    encoder = bundles.load(folder).encoder
    encoded = encoder.encode([encoder.schema.row(population().row(0))])
    rounds = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(calls // 10):
            encoder.unusual(encoded)
        rounds.append((time.perf_counter() - started) / (calls // 10) * 1e6)
    return sorted(rounds)[5]


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


if __name__ == "__main__":
    sys.exit(main())
