"""Time and memory to load a large extract: `python -m benchmarks.ingest [--customers N]`.

Writes an extract of the built-in population, loads it into a new SQLite file in a process of its own, and exits 1 if
that takes over 120 s or 1.5 GiB.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from leeway.data.extract import ID_COLUMN, LABEL_COLUMN, LABELS_FILE, LAYOUT, read_extract
from leeway.data.population import population
from leeway.schema import CHURN_SCHEMA, Value
from leeway.store.engine import create_tables, open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for

MAX_SECONDS = 120.0
MAX_BYTES = 1.5 * 2**30
AS_OF = date(2024, 1, 31)


@dataclass(frozen=True)
class Measured:
    """One load: seconds from the first read to the commit, and the process's peak memory in bytes."""

    rows: int
    reading_s: float
    loading_s: float
    peak_bytes: int

    @property
    def total_s(self) -> float:
        """The seconds of reading and loading."""
        return self.reading_s + self.loading_s


def write_extract(folder: Path, customers: int) -> None:
    """Write the population's first month in the layout that `leeway ingest` reads."""
    made = population(customers=customers)
    for file, features in LAYOUT.items():
        _write_csv(folder / file, made.user_ids, {name: made.columns[name] for name in features})
    _write_csv(folder / LABELS_FILE, made.user_ids, {LABEL_COLUMN: [label == 1 for label in made.labels]})


def _write_csv(path: Path, user_ids: list[str], columns: Mapping[str, Sequence[Value]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([ID_COLUMN, *columns])
        writer.writerows(zip(user_ids, *columns.values(), strict=True))


def load(folder: Path, database: Path) -> Measured:
    """Load the extract as `leeway ingest` does."""
    engine, tables = open_engine(f"sqlite:///{database}"), tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    start = time.perf_counter()
    extract = read_extract(folder)
    read = time.perf_counter()
    rows = Snapshots(engine, tables).ingest(AS_OF, extract.user_ids, extract.columns, extract.labels)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measured(rows, read - start, end - read, peak)


def measure(customers: int) -> Measured:
    """Write and load in two processes, so that the loader's memory is measured alone."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="leeway-ingest-") as scratch:
        folder = Path(scratch)
        with ProcessPoolExecutor(1, mp_context=spawn) as writer:
            writer.submit(write_extract, folder, customers).result()
        with ProcessPoolExecutor(1, mp_context=spawn) as loader:
            return loader.submit(load, folder, folder / "leeway.db").result()


def main() -> int:
    """Measure and print; return 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000, help="how many customers (default 1,000,000)")
    measured = measure(parser.parse_args().customers)
    print(f"rows       {measured.rows:>12,}")
    print(f"reading    {measured.reading_s:>12.1f} s")
    print(f"loading    {measured.loading_s:>12.1f} s")
    print(f"total      {measured.total_s:>12.1f} s       at most {MAX_SECONDS:g}")
    print(f"speed      {measured.rows / measured.total_s:>12,.0f} rows/s")
    print(f"peak RSS   {measured.peak_bytes / 2**30:>12.2f} GiB     at most {MAX_BYTES / 2**30:g}")
    return int(measured.total_s > MAX_SECONDS or measured.peak_bytes > MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
