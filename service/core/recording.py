"""Records answers in the spool. A failure is counted and logged; the policy decides whether the answer is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from leeway.store.record import PredictionRecord
from service.spool.spool import SpoolError, SpoolFull
from service.telemetry.probe import PredictionProbe

LOG_EVERY_S = 60.0
_log = logging.getLogger(__name__)


class RecordSink(Protocol):
    """Where records go: `service.spool.spool.Spool`, or a fake."""

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep the records, or raise `service.spool.spool.SpoolError`, which says how many are kept."""


class Recorder:
    """Records answers before they are sent."""

    def __init__(
        self, sink: RecordSink, probe: PredictionProbe, *, required: bool, clock_s: Callable[[], float] = monotonic
    ) -> None:
        self.required = required
        """Whether a prediction that cannot be recorded must not be answered."""
        self._sink = sink
        self._probe = probe
        self._clock_s = clock_s
        self._next_log_at_s = -float("inf")
        self._unlogged = 0

    def record(self, records: Sequence[PredictionRecord]) -> list[bool]:
        """Keep the records, and return for each whether it is kept. A loss is counted, and logged once a minute."""
        kept, error = self.keep(records)
        if error is not None:
            self._lost(len(records) - sum(kept), error)
        return kept

    def keep(self, records: Sequence[PredictionRecord]) -> tuple[list[bool], SpoolError | None]:
        """Like `record`, without reporting a loss: the caller answers those requests again. Also returns the reason.

        The records are written at once or, if that fails, one by one.
        """
        kept, error = [True] * len(records), None
        try:
            if records:
                self._sink.append(records)
        except SpoolError as first:
            error = first
            kept[first.kept :] = self._one_by_one(records[first.kept :]) if len(records) > 1 else [False]
        if any(kept):
            self._probe.record_spooled(sum(kept))
        return kept, None if all(kept) else error

    def _one_by_one(self, records: Sequence[PredictionRecord]) -> list[bool]:
        kept = [False] * len(records)
        for place, record in enumerate(records):
            try:
                self._sink.append([record])
            except SpoolFull:
                break  # there is no room for the others either
            except SpoolError:
                continue
            kept[place] = True
        return kept

    def _lost(self, count: int, error: SpoolError) -> None:
        if not self.required:
            self._probe.record_lost(count)
        self._unlogged += count
        now_s = self._clock_s()
        if now_s < self._next_log_at_s:
            return
        self._next_log_at_s = now_s + LOG_EVERY_S
        consequence = "rejected" if self.required else "answered without a record"
        _log.error("%d predictions %s: %s", self._unlogged, consequence, error)
        self._unlogged = 0
