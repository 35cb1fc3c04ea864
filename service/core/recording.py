"""Records answers in the spool. A failure is counted and logged; the policy decides whether the answer is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from leeway.store.record import PredictionRecord
from service.spool.spool import SpoolError
from service.telemetry.probe import PredictionProbe

LOG_EVERY_S = 60.0
_log = logging.getLogger(__name__)


class RecordSink(Protocol):
    """Where records go: `service.spool.spool.Spool`, or a fake."""

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep all of the records, or raise `service.spool.spool.SpoolError` and keep none."""


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

    def record(self, records: Sequence[PredictionRecord]) -> bool:
        """Keep the records and return whether that worked. A loss is counted, and logged once a minute."""
        if not records:
            return True
        try:
            self._sink.append(records)
        except SpoolError as error:
            self._lost(len(records), error)
            return False
        self._probe.record_spooled(len(records))
        return True

    def record_all(self, records: Sequence[PredictionRecord]) -> None:
        """Keep the records of several clients; a failure is neither counted nor logged, because each is tried alone.

        Raises:
            SpoolError: none was kept.
        """
        self._sink.append(records)
        self._probe.record_spooled(len(records))

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
