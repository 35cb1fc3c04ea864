"""The service with everything on, against a bare FastAPI route around the same model: `python -m benchmarks.serve`.

Four servers take turns under the same load: (a) this service with every trace sampled and exported to a local OTLP
receiver, (b) the same with OTEL_SDK_DISABLED=true, (c) a bare FastAPI route, (d) that route with OpenTelemetry's
instrumentation as its documentation sets it up. The API process runs on one core, everything else on another.

Processor time per request comes first, because it depends least on what else the machine does; rates are compared
between neighbouring rounds only. It exits 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.bundle import make_bundle
from benchmarks.serving.arrivals import arrivals
from benchmarks.serving.batches import batches
from benchmarks.serving.draining import draining
from benchmarks.serving.figures import Report
from benchmarks.serving.losses import losses
from benchmarks.serving.page import PAGE, provenance, write_section
from benchmarks.serving.processes import client_core
from benchmarks.serving.resources import memory, workers
from benchmarks.serving.run import Run
from benchmarks.serving.saturation import by_customer, by_features
from benchmarks.serving.sink import running_sink
from benchmarks.serving.wrk import require_wrk

PARTS: Final[dict[str, Callable[[Run, Report], None]]] = {
    "features": by_features,
    "customers": by_customer,
    "batches": batches,
    "arrivals": arrivals,
    "losses": losses,
    "memory": memory,
    "drainer": draining,
    "workers": workers,
}


def main() -> int:
    """Measure and print everything; return 1 if a bound does not hold."""
    options = _options()
    require_wrk()
    os.sched_setaffinity(0, {client_core()})
    report = Report()
    with tempfile.TemporaryDirectory() as temporary, running_sink() as sink:
        make_bundle(Path(temporary))
        run = Run(Path(temporary), sink, options.rounds, options.seconds, options.minute)
        for name in options.only:
            started = time.perf_counter()
            PARTS[name](run, report)
            print(f"\n({name}: {time.perf_counter() - started:.0f} s)", flush=True)
    print(f"\n{report.summary()}")
    if options.write:
        command = f"python -m benchmarks.serve --rounds {options.rounds} --seconds {options.seconds:g}"
        write_section(options.write, "serve", f"{provenance(command)}\n\n{report.text()}")
    return int(not report.holds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="how often the servers take turns (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (default 3)")
    parser.add_argument(
        "--minute", type=float, default=60.0, help="seconds of open loop and of saturation (default 60)"
    )
    parser.add_argument("--quick", action="store_true", help="the same as --only features")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"write to {PAGE} too")
    options = parser.parse_args()
    if options.quick:
        options.only = ["features"]
    return options


if __name__ == "__main__":
    sys.exit(main())
