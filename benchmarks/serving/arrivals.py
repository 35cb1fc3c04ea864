"""Requests that arrive at a fixed mean rate, far below saturation: the added latency of (a)."""

from __future__ import annotations

import statistics

from benchmarks.serving.figures import Report
from benchmarks.serving.open_loop import Arrivals, open_loop, wire
from benchmarks.serving.run import A, C, Run

RATES = (200, 1_000)


def arrivals(run: Run, report: Report) -> None:
    """Poisson arrivals for a minute at each rate, in rounds that (a) and (c) take in turn."""
    wires = [wire(body) for body in run.bodies]
    lines = [
        "| requests/s | server | p50 ms | p99 ms | client late (p99) ms | failed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    p99s_ms: dict[tuple[int, str], float] = {}
    with run.servers("ac") as servers:
        for rate in RATES:
            found: dict[str, list[Arrivals]] = {A: [], C: []}
            for turn in range(run.rounds):
                for name, each in servers.items():
                    found[name].append(open_loop(each.port, wires, rate, run.minute_s / run.rounds, turn))
            for name, rounds in found.items():
                p50, p99_ms, late = (
                    statistics.median(each.quantile_ms(0.5) for each in rounds),
                    statistics.median(each.p99_ms() for each in rounds),
                    statistics.median(each.late_ms() for each in rounds),
                )
                p99s_ms[rate, name] = p99_ms
                failed = sum(each.failed for each in rounds)
                lines.append(f"| {rate:,} | {name} | {p50:.2f} | {p99_ms:.2f} | {late:.2f} | {failed} |")
    report.add("\n".join(["**open loop, Poisson arrivals**", "", *lines]))
    for rate in RATES:
        added_ms = p99s_ms[rate, A] - p99s_ms[rate, C]
        report.check(f"open loop, {rate:,} requests/s: p99 of a - p99 of c, ms", added_ms, at_most=1)
