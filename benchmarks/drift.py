"""Time and memory of comparing a window, in each database and by Evidently: `python -m benchmarks.drift [--write]`.

The window has 14 features, a score, and 1.6 rows a subject. *few* has integers of few values, flags and categories,
*many* has continuous numbers instead of the integers. Measured, each in a process of its own and after a small window,
so that imports do not count (Evidently's takes five seconds):

- `drift.aggregates` on a Parquet file by DuckDB with a limit of 400 MB (800 MB above a million rows), and on our own
  table of predictions in SQLite and PostgreSQL (left out above a million rows, or without PostgreSQL's binaries);
- Evidently on all subjects, in memory, with reading the file, without writing its page (left out above a million rows).

`--rows 100000 1000000` chooses the sizes. The processor time is that of the process: without PostgreSQL's. Returns 1
if a bound does not hold.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.postgresql import NoPostgreSQL, a_postgresql
from benchmarks.serving.figures import Report
from benchmarks.serving.page import PAGE, provenance, write_section
from drift.aggregates.databases import snapshot
from drift.aggregates.duckdb import duckdb_snapshot
from drift.aggregates.statements import LastRows
from drift.aggregates.window import window_columns
from drift.comparison.compare import PreparedReference, WindowColumns
from leeway.model.distances import method_for
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, list_values
from leeway.schema import SCORE_COLUMN, Feature, FeatureSchema, Kind
from leeway.store.bulk_insert import insert_rows
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.tables import feature_key, tables_for

ROWS: Final = (100_000, 1_000_000, 10_000_000)
MOST_IN_TABLES: Final = 1_000_000
WARM_UP_ROWS: Final = 1_000
FASTER: Final = {"few": 30, "many": 8}
"""How many times as fast as Evidently DuckDB must be at a million rows."""
REFERENCE_ROWS: Final = 2_000
CHUNK: Final = 250_000
DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)
KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    "few": ("integer",) * 10 + ("flag",) * 2 + ("category",) * 2,
    "many": ("number",) * 10 + ("flag",) * 2 + ("category",) * 2,
}


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of the processor, and the process's greatest memory in bytes."""

    wall_s: float
    processor_s: float
    peak_bytes: int


def schema_of(kind: str) -> FeatureSchema:
    """Fourteen features."""
    return FeatureSchema(tuple(Feature(f"f{place}", each) for place, each in enumerate(KINDS[kind])))


def columns_of(kind: str, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Values of the features and of the score."""
    words = np.array(["DSL", "Fiber", "Satellite"])
    draw: dict[Kind, Callable[[], Any]] = {
        "integer": lambda: rng.poisson(6, rows),
        "number": lambda: rng.gamma(2, 5, rows),
        "flag": lambda: rng.random(rows) < 0.3,
        "category": lambda: words[rng.integers(0, 3, rows)],
    }
    features = {f"f{place}": draw[each]() for place, each in enumerate(KINDS[kind])}
    return features | {SCORE_COLUMN: rng.beta(2, 5, rows)}


def reference_of(kind: str) -> PreparedReference:
    """A reference of 2,000 rows."""
    values = values_of(kind, columns_of(kind, REFERENCE_ROWS, np.random.default_rng(0)))
    plans = {
        name: ColumnPlan(method_for("number" if column.dtype != object else "category", column), 0.1, 2.0)
        for name, column in values.items()
    }
    score = plans.pop(SCORE_COLUMN)
    return PreparedReference(values, schema_of(kind), DriftPlan(plans, score))


def values_of(kind: str, columns: dict[str, Any]) -> dict[str, Values]:
    """The columns as they are compared."""
    kinds = {each.name: each.kind for each in schema_of(kind)}
    return {
        name: list_values(column.tolist() if kinds.get(name) == "category" else column, kinds.get(name, "number"))
        for name, column in columns.items()
    }


def write_file(kind: str, rows: int, path: Path) -> None:
    """Write the window as a Parquet file."""
    rng = np.random.default_rng(1)
    with ExitStack() as stack:
        writer = None
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            ids = [f"{number:032x}" for number in range(start, start + size)]
            users = [f"customer-{number:08}" for number in rng.integers(0, rows, size).tolist()]
            times = np.datetime64(DAY.replace(tzinfo=None), "us") + np.arange(start, start + size)
            given = {"prediction_id": ids, "user_id": users, "predicted_at": times}
            table = pa.table(given | columns_of(kind, size, rng))
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def fill(kind: str, path: Path, url: str) -> None:
    """Copy the file into our own table of predictions."""
    engine, tables = open_engine(url), tables_for(schema_of(kind))
    create_tables(engine, tables)
    fixed = {"model_version": "v1", "prediction": 0, "unusual_features": 0}
    fixed |= {"inference_duration_s": 0.0, "is_synthetic": False}
    names = schema_of(kind).names
    keys = ["prediction_id", "user_id", "predicted_at", *map(feature_key, names), "score", *fixed]
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # one COPY of all rows
        for batch in pq.ParquetFile(path).iter_batches(batch_size=CHUNK):
            columns = batch.to_pydict()
            columns["predicted_at"] = [moment.replace(tzinfo=UTC) for moment in columns["predicted_at"]]
            rows = zip(*columns.values(), strict=True)
            insert_rows(connection, tables.predictions, keys, ((*row, *fixed.values()) for row in rows))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def in_table(kind: str, url: str) -> Cost:
    """Measure SQLite or PostgreSQL."""
    engine, reference = open_engine(url), reference_of(kind)
    log = PredictionLog(engine, tables_for(schema_of(kind)))
    keys = {name: feature_key(name) for name in schema_of(kind).names} | {SCORE_COLUMN: "score"}

    def once(length: timedelta = timedelta(days=1)) -> WindowColumns:
        with snapshot(engine) as view:
            return window_columns(view, log.last_rows(DAY, DAY + length), reference, keys)

    once(timedelta(microseconds=WARM_UP_ROWS))
    return measured(once)


def in_file(kind: str, path: Path, limit: str) -> Cost:
    """Measure DuckDB on the Parquet file."""
    reference = reference_of(kind)
    file = sa.table(
        "file", sa.column("user_id"), sa.column("predicted_at", sa.DateTime), *map(sa.column, reference.columns)
    )
    rows = LastRows(sa.select(*file.c), "user_id", "predicted_at")

    def once(most: int | None = None) -> WindowColumns:
        with duckdb.connect(config={"memory_limit": limit, "temp_directory": str(path.parent / "spill")}) as connection:
            connection.execute("SET enable_progress_bar = false")
            end = "" if most is None else f"LIMIT {most}"
            connection.execute(f"CREATE VIEW file AS FROM read_parquet('{path}') {end}")
            keys = {name: name for name in reference.columns}
            with duckdb_snapshot(connection) as view:
                return window_columns(view, rows, reference, keys)

    once(WARM_UP_ROWS)
    return measured(once)


def by_evidently(kind: str, path: Path) -> Cost:
    """Measure Evidently on all subjects: reading the file, keeping each subject's last row, and measuring."""
    import pandas as pd  # noqa: PLC0415 (memory of this way only)

    from drift.comparison.evidently import evidently_page  # noqa: PLC0415
    from leeway.model.drift_plan import values_of as values_of_column  # noqa: PLC0415

    reference = reference_of(kind)
    evidently_page(reference, {name: each.entries[:1_000] for name, each in reference.columns.items()}, 1_000)

    def once() -> object:
        frame = pd.read_parquet(path).sort_values("predicted_at").drop_duplicates("user_id", keep="last")
        values = {name: values_of_column(frame[name], each.kind) for name, each in reference.columns.items()}
        return evidently_page(reference, values, len(frame))

    return measured(once)


def measured(once: Callable[[], object]) -> Cost:
    """Measure one call: a worker's window is new each time, too."""
    wall, processor = time.perf_counter(), time.process_time()
    once()
    wall_s, processor_s = time.perf_counter() - wall, time.process_time() - processor
    return Cost(wall_s, processor_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def alone(task: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 (the task's result)
    """Run in a process of its own, so that its memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def filled(kind: str, path: Path, url: str) -> Cost:
    """Fill the table, then measure."""
    alone(fill, kind, path, url)
    cost: Cost = alone(in_table, kind, url)
    return cost


def ways_of(kind: str, rows: int, folder: Path, postgresql: str | None) -> dict[str, Callable[[], Cost]]:
    """What is measured of one window."""
    path = folder / f"{kind}-{rows}.parquet"
    alone(write_file, kind, rows, path)
    ways: dict[str, Callable[[], Cost]] = {
        "DuckDB": partial(alone, in_file, kind, path, "400MB" if rows <= MOST_IN_TABLES else "800MB")
    }
    if rows <= MOST_IN_TABLES:
        ways["Evidently"] = partial(alone, by_evidently, kind, path)
        urls = {"SQLite": f"sqlite:///{folder / f'{kind}-{rows}.db'}", "PostgreSQL": postgresql}
        for name, url in urls.items():
            if url is not None:
                ways[name] = partial(filled, kind, path, url)
    return ways


def measure(sizes: Sequence[int]) -> dict[tuple[str, int, str], Cost]:
    """Measure all windows, and print a line for each way."""
    costs: dict[tuple[str, int, str], Cost] = {}
    print(f"{'':<5} {'rows':>11}  {'':<11}{'time':>10} {'processor':>11} {'peak':>11}")
    for kind in KINDS:
        for rows in sizes:
            with tempfile.TemporaryDirectory(prefix="leeway-drift-") as folder, ExitStack() as stack:
                try:
                    postgresql = stack.enter_context(a_postgresql(durable=True)) if rows <= MOST_IN_TABLES else None
                except NoPostgreSQL:
                    postgresql = None
                for name, way in ways_of(kind, rows, Path(folder), postgresql).items():
                    cost = costs[kind, rows, name] = way()
                    figures = f"{cost.wall_s:>8.2f} s {cost.processor_s:>9.2f} s {cost.peak_bytes / 2**20:>7,.0f} MiB"
                    print(f"{kind:<5} {rows:>11,}  {name:<11}{figures}", flush=True)
    return costs


def table(costs: dict[tuple[str, int, str], Cost]) -> str:
    """The costs as a Markdown table."""
    lines = ["| data | rows | | time s | processor time s | peak MiB |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {kind} | {rows:,} | {way} | {cost.wall_s:.2f} | {cost.processor_s:.2f} | {cost.peak_bytes / 2**20:,.0f} |"
        for (kind, rows, way), cost in costs.items()
    ]
    return "\n".join(lines)


def check(report: Report, costs: dict[tuple[str, int, str], Cost]) -> None:
    """Check the bounds of what was measured, on the clock."""
    million, ten_millions = ROWS[1:]
    for kind, faster in FASTER.items():
        found = {way: cost for (of, rows, way), cost in costs.items() if (of, rows) == (kind, million)}
        most_s = {"PostgreSQL": 15, "SQLite": 25}
        for way in most_s.keys() & found.keys():
            report.check(f"{kind}, {million:,} rows, {way}: s", found[way].wall_s, at_most=most_s[way])
        if found:
            ratio = found["Evidently"].wall_s / found["DuckDB"].wall_s
            report.check(f"{kind}, {million:,} rows: Evidently ÷ DuckDB, time", ratio, at_least=faster)
            report.check(f"{kind}, {million:,} rows, DuckDB: MiB", found["DuckDB"].peak_bytes / 2**20, at_most=400)
        if large := costs.get((kind, ten_millions, "DuckDB")):
            report.check(f"{kind}, {ten_millions:,} rows, DuckDB: MiB", large.peak_bytes / 2**20, at_most=1024)
            if found:
                ratio = large.wall_s / found["DuckDB"].wall_s
                report.check(f"{kind}, DuckDB: time of {ten_millions:,} rows ÷ {million:,}", ratio, at_most=15)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"write to {PAGE} too")
    options = parser.parse_args(arguments)
    report = Report()
    costs = measure(options.rows)
    report.add(table(costs))
    check(report, costs)
    if options.write:
        write_section(options.write, "drift", f"{provenance('python -m benchmarks.drift')}\n\n{report.text()}")
    return int(not report.holds)


if __name__ == "__main__":
    sys.exit(main())
