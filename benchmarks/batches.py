"""How many more rows a second batches answer than single requests do, asked in turn."""

import json
import sqlite3
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import saturate, wire

ROWS = 1_000
MOVED_WITHIN_S = 120.0


@dataclass(frozen=True)
class BatchRates:
    """Rows per second, medians over the rounds; `ratio` is the median of the rounds' own ratios."""

    single: float
    batch: float
    ratio: float


def batch_rates(port: int, spool: Path, wires: list[bytes], rounds: int, seconds: float) -> BatchRates:
    """Ask for single rows, then for batches of 1,000, over one connection, once all rows of before were moved.

    A machine that is not ours alone is faster at one time than at another: only neighbours are compared.
    """
    items = [json.loads(each.split(b"\r\n\r\n", 1)[1]) for each in wires[:ROWS]]
    batch_wire = wire(json.dumps({"items": items}).encode(), "/predict/batch")
    single, batch = [], []
    for _ in range(rounds):
        wait_until_moved(spool)
        single.append(saturate(port, wires, 1, seconds).rate)
        wait_until_moved(spool)
        batch.append(saturate(port, [batch_wire], 1, seconds).rate * ROWS)
    ratio = statistics.median(many / one for one, many in zip(single, batch, strict=True))
    return BatchRates(statistics.median(single), statistics.median(batch), ratio)


def wait_until_moved(spool: Path) -> None:
    """Wait until nothing is left in the spool; its mover works in the process that is measured."""
    deadline_s = time.monotonic() + MOVED_WITHIN_S
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as connection:
        while connection.execute("SELECT count(*) FROM records").fetchone() != (0,):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{spool} was not moved within {MOVED_WITHIN_S:.0f} s")
            time.sleep(0.1)
