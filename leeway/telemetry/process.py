"""Processor time and memory of this process, by the semantic conventions for processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from opentelemetry.metrics import Meter

from leeway.telemetry import names
from leeway.telemetry.instruments import observe

_STATM = Path("/proc/self/statm")
_RESIDENT = 1
"""The field of `statm` with the number of resident pages, see proc(5)."""


def observe_process(meter: Meter) -> None:
    """Report processor time, and on Linux also memory, at every collection."""
    observe(meter, names.PROCESS_CPU_TIME, _cpu_time)
    if _STATM.exists():
        observe(meter, names.PROCESS_MEMORY, _memory)


def _cpu_time() -> Iterable[tuple[float, Mapping[str, str]]]:
    times = os.times()
    return [(times.user, {names.CPU_MODE: "user"}), (times.system, {names.CPU_MODE: "system"})]


def _memory() -> Iterable[tuple[float, Mapping[str, str]]]:
    pages = int(_STATM.read_text(encoding="ascii").split()[_RESIDENT])
    return [(pages * os.sysconf("SC_PAGE_SIZE"), {})]
