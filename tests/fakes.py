"""A whole service in one process, of real parts, and a probe that records its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from leeway.data.population import Population
from leeway.model.bundle import Bundle, Scorer
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshots
from leeway.store.tables import Tables, tables_for
from service.app import create_app
from service.core.feedback import Feedback
from service.core.predictor import Predictor
from service.core.readiness import check_readiness
from service.core.recording import Recorder
from service.core.rejections import RejectionTally
from service.spool.drainer import PredictionWriter
from service.spool.reader import SpoolReader
from service.spool.spool import Spool, SpoolError
from service.telemetry.probe import Cause, LookupCall, ModelCall, PredictionProbe, TraceRef

TRACE = TraceRef("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
SMALLEST_SPOOL_BYTES = 2**17
"""A spool of this size is full after some hundred predictions."""
_tables_for = cache(tables_for)


@dataclass
class RememberingProbe(PredictionProbe):
    """A probe that keeps its events, and names `trace` in every answer."""

    trace: TraceRef | None = TRACE
    lookups: list[LookupCall] = field(default_factory=list)
    scorings: list[ModelCall] = field(default_factory=list)
    answers: list[tuple[PredictionRecord, bool]] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    batches: list[Sequence[PredictionRecord]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rejections: list[tuple[str | None, str]] = field(default_factory=list)
    synthetic_rejections: list[tuple[str | None, str]] = field(default_factory=list)
    spooled: int = 0
    lost: int = 0

    def trace_ref(self) -> TraceRef | None:
        """See `PredictionProbe`."""
        return self.trace

    def looked_up(self, call: LookupCall) -> None:
        """See `PredictionProbe`."""
        self.lookups.append(call)

    def scored(self, call: ModelCall) -> None:
        """See `PredictionProbe`."""
        self.scorings.append(call)

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:  # noqa: ARG002 (the base class's signature)
        """See `PredictionProbe`."""
        self.answers.append((record, recorded))

    def batch_received(self, items: int) -> None:
        """See `PredictionProbe`."""
        self.received.append(items)

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """See `PredictionProbe`."""
        self.batches.append(records)

    def failed(self, error_type: str, duration_s: float) -> None:  # noqa: ARG002 (as above)
        """See `PredictionProbe`."""
        self.failures.append(error_type)

    def rejected(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """See `PredictionProbe`."""
        (self.synthetic_rejections if is_synthetic else self.rejections).extend(causes)

    def record_spooled(self, count: int) -> None:
        """See `PredictionProbe`."""
        self.spooled += count

    def record_lost(self, count: int) -> None:
        """See `PredictionProbe`."""
        self.lost += count


@dataclass
class DrainerState:
    """Whether the service believes that its drainer is alive."""

    is_alive: bool = True


@dataclass(frozen=True)
class Service:
    """The API and all that stands behind it. The drainer does not run: `move` does its work when a test calls it."""

    app: FastAPI
    client: TestClient
    bundle: Bundle
    engine: sa.Engine
    tables: Tables
    spool: Spool
    reader: SpoolReader
    probe: RememberingProbe
    tally: RejectionTally
    database: Path
    drainer: DrainerState

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
        """POST `body` as JSON."""
        return self.client.post(path, json=body)

    def post_raw(self, path: str, body: bytes | Iterator[bytes], content_type: str | None = "application/json") -> Any:  # noqa: ANN401 (as above)
        """POST these very bytes."""
        headers = {} if content_type is None else {"content-type": content_type}
        return self.client.post(path, content=body, headers=headers)

    def ingest(self, people: Population, as_of: date, count: int = 20) -> None:
        """Load the first `count` of these people as snapshots of a day."""
        columns = {name: values[:count] for name, values in people.columns.items()}
        Snapshots(self.engine, self.tables).ingest(as_of, people.user_ids[:count], columns, people.labels[:count])

    def spooled(self) -> list[PredictionRecord]:
        """The records that wait in the spool, oldest first."""
        batch = self.reader.take(10_000)
        return [] if batch is None else batch.records

    def move(self) -> None:
        """Move what waits in the spool into the database, as the drainer does."""
        writer = PredictionWriter(self.engine)
        while batch := self.reader.take(10_000):
            writer.write(self.reader.schema(batch.segment.fingerprint), batch.records, batch.origin)
            self.reader.ack(batch)

    def reset(self) -> None:
        """Forget what was recorded, rejected and predicted; snapshots stay."""
        self.probe.__init__()  # type: ignore[misc]
        self.tally._counts.clear()
        self.drainer.is_alive = True
        if not self.database.exists():
            self.find_database()
        while batch := self.reader.take(10_000):
            self.reader.ack(batch)
        with self.engine.begin() as connection:
            for table in (self.tables.predictions, self.tables.prediction_labels):
                connection.execute(sa.delete(table))

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """All rows of a table, by column name."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

    def fill_spool(self) -> None:
        """Append until nothing more goes in; only for a small spool."""
        self.client.post("/predict", json={"features": dict(self.bundle.card.example)})
        (record, *_) = self.spooled()
        for _ in range(10_000):
            try:
                self.spool.append([record])
            except SpoolError:
                return
        raise AssertionError("the spool took 10,000 records: open a smaller one")

    def lose_database(self) -> None:
        """Take the database away, as an outage would."""
        self.engine.dispose()
        self.database.parent.rename(self.database.parent.with_name("away"))

    def find_database(self) -> None:
        """Bring the database back."""
        self.database.parent.with_name("away").rename(self.database.parent)


@contextmanager
def service_over(
    bundle: Bundle,
    folder: Path,
    *,
    required: bool = False,
    spool_limit_bytes: int = 2**26,
    clock_s: Callable[[], float] | None = None,
    metrics_text: Callable[[], tuple[bytes, str]] | None = None,
    scorer: Scorer | None = None,
) -> Iterator[Service]:
    """Yield a service that serves `bundle`, with a database and a spool of its own in `folder` and no snapshots yet.

    `scorer` takes the place of the bundle's own.
    """
    bundle = bundle if scorer is None else replace(bundle, scorer=scorer)
    database = folder / "database" / "leeway.db"
    engine, tables = open_engine(f"sqlite:///{database}"), _tables_for(bundle.schema)
    create_tables(engine, tables)
    probe, tally, log = RememberingProbe(), RejectionTally(bundle.schema.names), PredictionLog(engine, tables)
    drainer = DrainerState()
    clock = {} if clock_s is None else {"clock_s": clock_s}
    with Spool(folder / "spool", bundle.schema, limit_bytes=spool_limit_bytes, fsync_always=False) as spool:
        recorder = Recorder(spool, probe, required=required, **clock)
        app = create_app(
            Predictor(bundle, Snapshots(engine, tables), recorder, probe),
            Feedback(log),
            bundle,
            partial(check_readiness, spool, log, lambda: drainer.is_alive),
            probe,
            tally,
            metrics_text=metrics_text,
        )
        with TestClient(app, raise_server_exceptions=False) as client:
            yield Service(
                app, client, bundle, engine, tables, spool, SpoolReader(spool.path), probe, tally, database, drainer
            )
    engine.dispose()
