"""Time and memory to train on a large table: `python -m benchmarks.train [--rows N] [--columns N] [--parquet]`.

Writes a table of numbers, integers and categories with gaps, trains on it in a process of its own, and exits 1 if the
process needs over 6 GiB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leeway.data.tabular import read_table
from leeway.model.training import train
from leeway.model.writer import Origin

MAX_BYTES = 6 * 2**30
_PART = 50_000  # rows written at a time


@dataclass(frozen=True)
class Measured:
    """Processor seconds of reading, and of training and bundling; the peak memory after each, in bytes."""

    read_s: float
    trained_s: float
    read_bytes: int
    peak_bytes: int


def part(rows: int, columns: int, seed: int) -> pd.DataFrame:
    """Rows of a target `y` that depends on the first columns: half numbers, a quarter each integers and categories."""
    rng = np.random.default_rng(seed)
    made: dict[str, object] = {}
    for place in range(columns):
        if place % 4 < 2:
            made[f"n{place}"] = np.where(rng.random(rows) < 0.05, np.nan, rng.normal(10, 3, rows).round(4))
        elif place % 4 == 2:
            made[f"i{place}"] = rng.integers(0, 10_000, rows)
        else:
            made[f"c{place}"] = rng.choice([f"kind {each}" for each in range(12)], rows)
    risk = np.nan_to_num(np.asarray(made["n0"], dtype=np.float64), nan=10.0) + rng.normal(0, 3, rows)
    return pd.DataFrame(made).assign(y=np.where(risk > 12, "yes", "no"))


def write(folder: Path, rows: int, columns: int, *, parquet: bool) -> Path:
    """Write the table, in parts, so that this process stays small."""
    if parquet:
        pd.concat([part(_PART, columns, seed) for seed in range(rows // _PART)]).to_parquet(folder / "table.parquet")
        return folder / "table.parquet"
    for seed in range(rows // _PART):
        frame = part(_PART, columns, seed)
        frame.to_csv(folder / "table.csv", index=False, mode="a", header=seed == 0)
    return folder / "table.csv"


def measure(path: Path, folder: Path) -> Measured:
    """Read the table, train and bundle, in this process."""
    start = time.process_time()
    data = read_table(path, target="y")
    read_s, read_bytes = time.process_time() - start, _peak_bytes()
    train(data, folder, Origin(name="large", target="y", source=path.name))
    return Measured(read_s, time.process_time() - start - read_s, read_bytes, _peak_bytes())


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


def main() -> int:
    """Write, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--parquet", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), options.rows, options.columns, parquet=options.parquet)
        size = path.stat().st_size / 2**20
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(measure, path, Path(folder) / "bundle").result()
    print(f"{options.rows:,} rows x {options.columns} columns, {path.suffix[1:]}, {size:,.0f} MiB")
    print(f"read:   {found.read_s:6.1f} s of processor time, {found.read_bytes / 2**30:.2f} GiB at most")
    print(f"train:  {found.trained_s:6.1f} s of processor time, {found.peak_bytes / 2**30:.2f} GiB at most")
    return int(found.peak_bytes > MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
