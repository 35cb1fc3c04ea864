"""Runs `wrk`, a load generator in C: a Python client would measure itself above about 1,500 requests per second."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.processes import client_core

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_SCRIPT = """\
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local place = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  place = place %% #bodies + 1
  return wrk.format(nil, "%s", nil, bodies[place])
end
"""
_DELAY = """\
function delay()
  return %d
end
"""


@dataclass(frozen=True)
class Load:
    """What `wrk` measured; `failed` counts answers other than 2xx and 3xx, and connections that broke."""

    requests: int
    seconds: float
    p99_ms: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """Exit with a message if `wrk` is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")


def write_script(folder: Path, name: str, path: str, bodies: Sequence[bytes], delay_ms: int = 0) -> Path:
    """Write the Lua script that posts `bodies`, each on one line, in turn to `path`.

    With `delay_ms` each connection waits so long before each request. The rate then is below connections ÷ delay;
    latencies omit what a stall would have delayed, so use `open_loop` to measure them.
    """
    lines, script = folder / f"{name}.txt", folder / f"{name}.lua"
    lines.write_bytes(b"\n".join(bodies) + b"\n")
    script.write_text(_SCRIPT % (lines, path) + (_DELAY % delay_ms if delay_ms else ""))
    return script


def saturate(port: int, script: Path, connections: int, seconds: float) -> Load:
    """Send on each connection as soon as its previous answer has arrived, from one thread on the core of the client."""
    duration = f"{max(1, round(seconds))}s"
    command = ["taskset", "-c", str(client_core()), "wrk", "-t1", f"-c{connections}", f"-d{duration}", "--latency"]
    url = f"http://127.0.0.1:{port}"
    run = subprocess.run([*command, "-s", str(script), url], capture_output=True, text=True, check=True)
    return parse(run.stdout)


def parse(text: str) -> Load:
    """Read the report of `wrk --latency`.

    Raises:
        ValueError: it is not such a report.
    """
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    if total is None or p99 is None:
        raise ValueError(f"not a report of wrk --latency: {text!r}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return Load(
        int(total[1]),
        float(total[2]) * _UNITS_MS[total[3]] / 1_000,
        float(p99[1]) * _UNITS_MS[p99[2]],
        (int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )
