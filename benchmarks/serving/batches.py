"""A client's batches of 1,000: what a row costs, and how long single requests take meanwhile."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor

from benchmarks.serving.figures import Report
from benchmarks.serving.open_loop import Arrivals, open_loop, wire
from benchmarks.serving.run import BATCH_ROWS, A, C, Run
from benchmarks.serving.wrk import saturate

SINGLES_RATE = 100


def batches(run: Run, report: Report) -> None:
    """Batches to (a), and single requests to (c); then batches and single requests to (a) at the same time."""
    with run.servers("ac") as servers:
        rows_us, bare_us, p99s_ms = [], [], []
        for turn in range(run.rounds):
            rows_us.append(run.turn(servers[A], run.batch, 1).api_us / BATCH_ROWS)
            bare_us.append(run.turn(servers[C], run.features, 1).api_us)
            p99s_ms.append(_singles_beside(run, servers[A].port, turn).p99_ms())
    row_us, request_us = statistics.median(rows_us), statistics.median(bare_us)
    report.add(
        f"Batches of 1,000, 1 connection: {row_us:.1f} µs of the API process a row, {request_us:.0f} a request to (c)."
    )
    report.check("batch of 1,000: processor time of a row ÷ a request to c", row_us / request_us, at_most=0.045)
    p99_ms = statistics.median(p99s_ms)
    report.check(f"p99 of {SINGLES_RATE} single requests/s during batches, ms", p99_ms, at_most=10)


def _singles_beside(run: Run, port: int, seed: int) -> Arrivals:
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(saturate, port, run.batch, 1, run.seconds + 1)
        wires = [wire(body) for body in run.bodies]
        arrivals = open_loop(port, wires, SINGLES_RATE, run.seconds, seed)
        load.result()
    return arrivals
