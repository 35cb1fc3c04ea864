"""The mover shares the interpreter with requests: how long it rests, and from what."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord
from service.spool.drainer import MAX_REST_S, DrainerProbe, SpoolDrainer, rest_s
from tests.leeway.store.records import open_spool, some_records

WORK_S = 0.05
BATCHES = 4
WITHIN_S = 20.0


def compute() -> None:
    """Keep the processor for `WORK_S` of this thread's own time."""
    end_s = time.thread_time() + WORK_S
    while time.thread_time() < end_s:
        pass


def rests_s(path: Path, work: Callable[[], None]) -> list[float]:
    """Move batches of one record, each `work` for the database; the seconds from each to the next."""
    spans: list[tuple[float, float]] = []

    def sink(schema: FeatureSchema, records: Sequence[PredictionRecord], /) -> None:  # noqa: ARG001 (Sink's)
        began_s = time.monotonic()
        work()
        spans.append((began_s, time.monotonic()))

    with open_spool(path / "spool.db", limit_bytes=2**30) as spool:
        spool.append(some_records(BATCHES))
        mover = SpoolDrainer(spool, sink, DrainerProbe(), batch_rows=1)
        mover.start()
        deadline_s = time.monotonic() + WITHIN_S
        while len(spans) < BATCHES and time.monotonic() < deadline_s:
            time.sleep(0.005)
        mover.stop(WITHIN_S)
    assert len(spans) == BATCHES
    return [after - before for (_, before), (after, _) in pairwise(spans)]


def test_it_rests_longer_than_it_computes(tmp_path: Path) -> None:
    """After each batch requests have the interpreter for themselves, and longer than the batch had it."""
    assert min(rests_s(tmp_path, compute)) > 2 * WORK_S


def test_it_does_not_rest_from_waiting(tmp_path: Path) -> None:
    """A slow database keeps nobody from the interpreter; to rest after it would only make the backlog longer."""
    assert min(rests_s(tmp_path, lambda: time.sleep(2 * MAX_REST_S))) < MAX_REST_S / 2


def test_a_rest_has_an_end() -> None:
    """Not even a batch that took minutes keeps the next one waiting for long."""
    assert rest_s(100.0, 0, 1_000) == MAX_REST_S
