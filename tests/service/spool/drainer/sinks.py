"""A database that is a list, a mover that runs until nothing is left, and patience with both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from leeway.schema import FeatureSchema
from leeway.store.predictions import RecordRejected
from leeway.store.record import PredictionRecord
from service.spool.drainer import SpoolDrainer, WriteRecords
from service.spool.spool import Spool
from tests.leeway.store.records import RememberingProbe

WAIT_S = 20.0


class ListSink:
    """A database that is a list, which can be away and can refuse records."""

    def __init__(self) -> None:
        self.stored: list[PredictionRecord] = []
        self.calls = 0
        self.error: Exception | None = None
        self.refuses: Callable[[PredictionRecord], bool] = lambda _: False

    def __call__(self, schema: FeatureSchema, records: Sequence[PredictionRecord], /) -> None:  # noqa: ARG002 (Sink's)
        """Store all records, or raise."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        if any(self.refuses(record) for record in records):
            raise RecordRejected("out of range")
        self.stored += records


def move(spool: Spool, sink: WriteRecords, *, batch_rows: int = 2_000) -> RememberingProbe:
    """Run a mover until it has nothing more to do; return what it told."""
    probe = RememberingProbe()
    mover = SpoolDrainer(spool, sink, probe, interval_s=0.01, batch_rows=batch_rows)
    mover.start()
    mover.stop(WAIT_S)
    return probe


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, for a bounded time."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return condition()
