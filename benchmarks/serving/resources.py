"""Memory, the time to ready, and what a second worker adds: of services that run alone."""

from __future__ import annotations

import statistics

from benchmarks.serving.figures import Report
from benchmarks.serving.processes import CORES, pss_mib
from benchmarks.serving.run import A, Run
from benchmarks.serving.wrk import saturate

LOAD_S = 10.0
WORKER_CORES = 2
CORES_FOR_TWO = 4
"""Two for the workers, and two for the client and the drainer, which would otherwise take from the workers."""


def memory(run: Run, report: Report) -> None:
    """Start (a) repeatedly, and load it the last time: nothing else of ours runs, so that no memory is shared."""
    ready_s = []
    for _ in range(run.rounds - 1):
        with run.start(A) as service:
            ready_s.append(service.ready_s)
    with run.start(A) as service:
        ready_s.append(service.ready_s)
        saturate(service.port, run.features, 32, LOAD_S)
        saturate(service.port, run.batch, 1, 2)
        api_mib, drainer_mib = pss_mib(service.pid), pss_mib(service.drainer())
    report.check("memory after load, API process, MiB (PSS)", api_mib, at_most=110)
    report.check("memory after load, drainer, MiB (PSS)", drainer_mib, at_most=60)
    report.check("start to ready, s", statistics.median(ready_s), at_most=2)


def workers(run: Run, report: Report) -> None:
    """Two workers on two cores, against one worker on one."""
    if len(CORES) < CORES_FOR_TWO:
        report.add(f"Two workers: not measured, which takes {CORES_FOR_TWO} cores; this machine has {len(CORES)}.")
        return
    rates: dict[int, list[float]] = {1: [], WORKER_CORES: []}
    for _ in range(run.rounds):
        for count, found in rates.items():
            with run.start(A, options=("--workers", str(count)), cores=CORES[:count]) as service:
                saturate(service.port, run.features, 32, 1)
                found.append(saturate(service.port, run.features, 32, run.seconds).rate)
    pairs = zip(rates[WORKER_CORES], rates[1], strict=True)
    report.check("two workers ÷ one, requests/s", statistics.median(two / one for two, one in pairs), at_least=1.7)
