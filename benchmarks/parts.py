"""Parts measured alone: the count of unusual features, and the mover."""

import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from leeway.data.population import population
from leeway.model import bundle as bundles
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.spool import Spool

MOVED = 50_000


def unusual_microseconds(folder: Path, calls: int = 20_000) -> float:
    """Median over ten rounds of the time to count one request's unusual features."""
    encoder = bundles.load(folder).encoder
    encoded = encoder.encode([encoder.schema.row(population().row(0))])
    rounds = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(calls // 10):
            encoder.unusual(encoded)
        rounds.append((time.perf_counter() - started) / (calls // 10) * 1e6)
    return sorted(rounds)[5]


def mover_rate(folder: Path) -> float:
    """Rows per second from a full spool into an empty SQLite database, JSON and all."""
    engine = open_engine(f"sqlite:///{folder / 'moved.db'}")
    create_tables(engine, tables_for(CHURN_SCHEMA))
    features = CHURN_SCHEMA.row(population().row(0))
    record = PredictionRecord(
        "", datetime.now(UTC), "v", "u", None, features, 0.5, 1, 0, 0.001, 0.0001, "0" * 32, "0" * 16
    )
    with Spool.open(folder / "moved-spool.db", CHURN_SCHEMA, limit_bytes=2**30, fsync_always=False) as spool:
        for start in range(0, MOVED, 1_000):
            spool.append([replace(record, prediction_id=f"{place:036d}") for place in range(start, start + 1_000)])
        mover = SpoolDrainer(spool, PredictionWriter(engine).write, DrainerProbe())
        started = time.perf_counter()
        mover.start()
        while spool.backlog():
            time.sleep(0.005)
        elapsed = time.perf_counter() - started
        mover.stop(5)
    engine.dispose()
    return MOVED / elapsed
