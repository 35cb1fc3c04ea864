"""Spans and measurements that do not arrive: none at half of saturation, and beyond it those that (a) counts itself.

What arrived is compared with what (a) measured: each request makes one measurement of its duration and two spans. A
client cannot tell as exactly, because it stops while requests are on their way.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Timer

from benchmarks.serving.figures import Report
from benchmarks.serving.run import A, Run
from benchmarks.serving.sink import Totals
from benchmarks.serving.wrk import Load, saturate, write_script

SPANS_PER_REQUEST = 2
"""The server span and `score`; requests have features, so nothing is looked up."""
CONNECTIONS = 64
SECONDS = 10.0
PAUSE_S = 5.0
"""How long the receiver stops; the buffer is full before."""


@dataclass(frozen=True)
class Losses:
    """The answers that the client received, and how much telemetry of them arrived or was counted as dropped."""

    answered: int
    arrived: Totals

    @property
    def spans(self) -> int:
        """Spans that did not arrive."""
        return SPANS_PER_REQUEST * self.arrived.requests - self.arrived.spans

    @property
    def uncounted(self) -> int:
        """Spans that did not arrive and that the service did not count as dropped.

        It may count more than were lost: a receiver may keep an export that it confirmed too late.
        """
        return max(0, self.spans - self.arrived.dropped)

    @property
    def measurements(self) -> int:
        """Answers without a measurement."""
        return max(0, self.answered - self.arrived.requests)

    def text(self, load: str) -> str:
        """One sentence."""
        return (
            f"Telemetry {load}: {self.arrived.requests:,} requests measured, {self.arrived.spans:,} spans arrived,"
            f" {self.spans:,} did not, {self.arrived.dropped:,} were counted as dropped."
        )


def losses(run: Run, report: Report) -> None:
    """At half of saturation; then saturated, with a receiver that stops for some seconds."""
    full = _lost(run, _saturated_with_pause)
    half = _lost(run, lambda run, port: _at_rate(run, port, full.answered / SECONDS / 2))
    report.add(half.text(f"at half of saturation ({half.answered / SECONDS:,.0f} requests/s)"))
    report.check("spans lost at half of saturation", half.spans, at_least=0, at_most=0)
    report.check("measurements lost at half of saturation", half.measurements, at_most=0)
    report.add(full.text(f"at saturation, with a receiver that stops for {PAUSE_S:.0f} s"))
    report.check("spans lost and not counted, saturated, receiver stopped", full.uncounted, at_most=0)
    report.check("measurements lost, saturated, receiver stopped", full.measurements, at_most=0)


def _lost(run: Run, load: Callable[[Run, int], Load]) -> Losses:
    """Load a new service, and compare once it has stopped, after its last export."""
    before = run.sink.totals()
    with run.start(A) as service:
        answered = load(run, service.port).requests
    return Losses(answered, run.sink.totals().since(before))


def _saturated_with_pause(run: Run, port: int) -> Load:
    """Saturate the service; meanwhile the receiver stops and goes on."""
    stop = Timer(1.0, os.kill, (run.sink.pid, signal.SIGSTOP))
    resume = Timer(1.0 + PAUSE_S, os.kill, (run.sink.pid, signal.SIGCONT))
    for timer in (stop, resume):
        timer.start()
    try:
        load = saturate(port, run.features, CONNECTIONS, SECONDS)
    finally:
        for timer in (stop, resume):
            timer.join()
    time.sleep(1)
    return load


def _at_rate(run: Run, port: int, rate: float) -> Load:
    """At most this rate."""
    slow = write_script(run.folder, "slow", "/predict", run.bodies, delay_ms(CONNECTIONS, rate))
    return saturate(port, slow, CONNECTIONS, SECONDS)


def delay_ms(connections: int, rate: float) -> int:
    """How long each connection waits, so that all together send at most at this rate."""
    return math.ceil(connections / rate * 1_000)
