from __future__ import annotations

import pytest

from benchmarks.serving.wrk import Load, parse, require_wrk

REPORT = """Running 2s test @ http://127.0.0.1:39923
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   259.02ms  297.11ms   1.89s    90.87%
  Latency Distribution
     50%  186.18ms
     99%    1.60s \n  231 requests in 2.06s, 169.69KB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 3
Requests/sec:    112.15
"""


def test_a_report_is_read() -> None:
    """Requests, seconds, the 99th percentile in milliseconds, and failures of every kind."""
    assert parse(REPORT) == Load(231, 2.06, 1_600, 6)


def test_another_text_is_rejected() -> None:
    """A report without a distribution is not taken for one."""
    with pytest.raises(ValueError, match="not a report"):
        parse("unable to connect")


def test_a_missing_wrk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `wrk` the benchmark ends with how to install it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        require_wrk()
