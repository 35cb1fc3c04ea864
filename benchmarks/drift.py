"""Time and memory of a drift comparison, ours and plain Evidently's: `python -m benchmarks.drift`.

Fills a database with 300,000 predictions for as many customers, and measures, each in a process of its own,

- a cycle of the worker: read the window, compare, write the reports (for at most 50,000 subjects, a sample of more);
- plain Evidently on whole frames in memory: compare, write the reports.

Exits 1 if a window of 300,000 rows takes over 1.5 times the time or the memory of one of 50,000.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import uuid_utils

from benchmarks.bundle import make_bundle
from drift.comparison.evidently import compute_drift
from drift.inputs import load_active_bundle, read_window
from leeway.data.population import population
from leeway.model import bundle as bundles
from leeway.settings import DriftSettings
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for

ROWS = (10_000, 50_000, 100_000, 300_000)
CAP = DriftSettings.model_fields["drift_max_rows"].default
LABELS = DriftSettings.model_fields["drift_labels"].default
MAX_RATIO = 1.5
ROUNDS = 3
BATCH = 10_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP = timedelta(milliseconds=3)


@dataclass(frozen=True)
class Cost:
    """The fastest of three rounds in seconds, of which `reading_s` for the database; memory in bytes.

    `imported_bytes` is the memory before the first round, with Evidently imported.
    """

    total_s: float
    reading_s: float
    import_s: float
    imported_bytes: int
    peak_bytes: int


def fill(folder: Path, rows: int) -> None:
    """Train a model, and store a prediction for each of `rows` customers, one every three milliseconds."""
    make_bundle(folder)
    bundle = bundles.load(folder / "bundle")
    engine, tables = open_engine(_url(folder)), tables_for(bundle.schema)
    create_tables(engine, tables)
    log, people = PredictionLog(engine, tables), population(1, customers=rows)
    for start in range(0, rows, BATCH):
        features = [people.row(place) for place in range(start, min(rows, start + BATCH))]
        scores = bundle.score(features).tolist()
        log.write_batch(
            [
                PredictionRecord(
                    prediction_id=str(uuid_utils.uuid7()),
                    predicted_at=NOON + (start + place) * STEP,
                    model_version=bundle.version,
                    user_id=people.user_ids[start + place],
                    as_of=None,
                    features=bundle.schema.row(row),
                    score=score,
                    prediction=int(score >= bundle.card.decision_threshold),
                    unusual_features=0,
                    lookup_duration_s=None,
                    inference_duration_s=0.0001,
                    trace_id=f"{start + place + 1:032x}",
                    span_id=f"{start + place + 1:016x}",
                )
                for place, (row, score) in enumerate(zip(features, scores, strict=True))
            ]
        )


def cycle(folder: Path, rows: int) -> Cost:
    """Measure a cycle of the worker on a window of `rows` predictions."""
    active = load_active_bundle(folder / "bundle", open_engine(_url(folder)))

    def once() -> float:
        started = time.perf_counter()
        served = read_window(active, NOON, NOON + rows * STEP, max_subjects=CAP, max_labels=LABELS)
        reading_s = time.perf_counter() - started
        if (served.current_window.rows, len(served.current)) != (rows, min(rows, CAP)):
            raise RuntimeError(f"the window holds {served.current_window.rows} rows")
        subjects = served.current_window.subjects
        found = compute_drift(
            active.reference, served.current, active.bundle.schema, active.bundle.card.drift, current_subjects=subjects
        )
        found.write_html(folder / "report.html")
        found.write_json(folder / "report.json")
        return reading_s

    return _measure(once)


def plain(folder: Path, rows: int) -> Cost:
    """Measure Evidently alone on all rows, with its default methods."""
    active = load_active_bundle(folder / "bundle", open_engine(_url(folder)))
    served = read_window(active, NOON, NOON + rows * STEP, max_subjects=rows, max_labels=LABELS)
    names = active.bundle.schema.names
    numbers = [each.name for each in active.bundle.schema if each.kind in {"number", "integer"}]
    frames = [_plain_types(frame[list(names)], numbers) for frame in (served.current, active.reference)]
    del served
    api = _import_evidently()
    definition = api.DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in names if name not in numbers]
    )

    def once() -> float:
        current, reference = (api.Dataset.from_pandas(frame, definition) for frame in frames)
        snapshot = api.Report([api.DataDriftPreset()]).run(current, reference)
        snapshot.save_html(str(folder / "report.html"))
        snapshot.save_json(str(folder / "report.json"))
        return 0.0

    return _measure(once)


def _plain_types(frame: pd.DataFrame, numbers: list[str]) -> pd.DataFrame:
    """Convert to the types that Evidently accepts: numbers, and text with None for missing."""
    texts = {name: [None if pd.isna(value) else str(value) for value in frame[name]] for name in frame}
    return pd.DataFrame({name: frame[name].astype("float64") if name in numbers else texts[name] for name in frame})


def _import_evidently() -> SimpleNamespace:
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently warns about itself
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 (its cost is measured)
        from evidently.presets import DataDriftPreset  # noqa: PLC0415 (the same)
    return SimpleNamespace(
        DataDefinition=DataDefinition, Dataset=Dataset, Report=Report, DataDriftPreset=DataDriftPreset
    )


def _measure(once: Callable[[], float]) -> Cost:
    started = time.perf_counter()
    _import_evidently()
    import_s, imported = time.perf_counter() - started, _peak_bytes()
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        reading_s = once()
        rounds.append((time.perf_counter() - started, reading_s))
    return Cost(*min(rounds), import_s, imported, _peak_bytes())


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'predictions.db'}"


def _alone(task: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 (the task's result)
    """Run in a process of its own, so that its memory is measured alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def main() -> int:
    """Measure and print; return 1 if a bound does not hold."""
    ours: dict[int, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="leeway-drift-") as scratch:
        folder = Path(scratch)
        _alone(fill, folder, max(ROWS))
        print(f"{'rows':>9} {'worker':>9} {'reading':>9} {'peak':>9}   {'Evidently':>9} {'peak':>9}   {'time':>6}")
        for rows in ROWS:
            mine, other = _alone(cycle, folder, rows), _alone(plain, folder, rows)
            ours[rows] = mine
            times = [f"{seconds:>7.2f} s" for seconds in (mine.total_s, mine.reading_s, other.total_s)]
            peaks = [f"{peak / 2**20:>5,.0f} MiB" for peak in (mine.peak_bytes, other.peak_bytes)]
            ratio = f"{mine.total_s / other.total_s:>6.2f}"
            print(f"{rows:>9,} {times[0]} {times[1]} {peaks[0]}   {times[2]} {peaks[1]}   {ratio}", flush=True)
    least, most = ours[CAP], ours[max(ROWS)]
    print(f"importing Evidently: {least.import_s:.1f} s, {least.imported_bytes / 2**20:,.0f} MiB")
    longer, larger = most.total_s / least.total_s, most.peak_bytes / least.peak_bytes
    print(f"{max(ROWS):,} rows against {CAP:,}: {longer:.2f} times the time, {larger:.2f} times the memory", end="")
    print(f" (at most {MAX_RATIO} each)")
    return int(max(longer, larger) > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
