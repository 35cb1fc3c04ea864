from __future__ import annotations

import sys
import time

import pytest

from leeway.telemetry import names
from leeway.telemetry.process import observe_process
from tests.telemetry import telemetry_in_memory


def test_processor_time_increases_with_work() -> None:
    """The processor time of the process is reported."""
    with telemetry_in_memory() as telemetry:
        observe_process(telemetry.providers.meter)
        before_s = telemetry.collect().total(names.PROCESS_CPU_TIME)
        until_s = time.process_time() + 0.1
        while time.process_time() < until_s:
            pass
        assert telemetry.collect().total(names.PROCESS_CPU_TIME) >= before_s + 0.05


def test_processor_time_is_reported_by_mode() -> None:
    """User and system time are separate."""
    with telemetry_in_memory() as telemetry:
        observe_process(telemetry.providers.meter)
        points = telemetry.collect().points(names.PROCESS_CPU_TIME)
        assert {point.attributes[names.CPU_MODE] for point in points} == {"user", "system"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from a file of Linux")
def test_memory_is_reported() -> None:
    """An interpreter has between 10 MiB and 10 GiB."""
    with telemetry_in_memory() as telemetry:
        observe_process(telemetry.providers.meter)
        assert 10 * 2**20 < telemetry.collect().total(names.PROCESS_MEMORY) < 10 * 2**30
