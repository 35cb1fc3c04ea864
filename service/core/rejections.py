"""Counts refused items by minute, and takes the counts to the database from a thread: no request waits for it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import uuid_utils

from leeway.store.predictions import PredictionLogError
from leeway.store.rejections import ANY, RejectedItems
from service.telemetry.probe import Cause, PredictionProbe

FLUSH_EVERY_S = 5.0
KEPT = timedelta(hours=1)
_log = logging.getLogger(__name__)


class CountSink(Protocol):
    """`leeway.store.rejections.RejectionLog`, or a fake."""

    def write(self, counts: Sequence[RejectedItems]) -> None:
        """Store the counts, or raise `leeway.store.predictions.PredictionLogError`."""
        ...


class RejectionTally:
    """What this process refused, until it is stored. Safe to tell from several threads.

    Features come from the schema and reasons from a fixed set, so that a minute holds no more counts than these allow,
    whatever clients send.
    """

    def __init__(self, features: Iterable[str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._known = frozenset(features)
        self._now = now
        self._process = str(uuid_utils.uuid7())
        self._lock = threading.Lock()
        self._counts: dict[datetime, Counter[tuple[str, str]]] = {}

    def refused(self, causes: Iterable[Cause]) -> None:
        """One item was refused, for these features' sakes (None: for another) and reasons."""
        minute = self._now().replace(second=0, microsecond=0)
        named = {(feature if feature in self._known else ANY, reason) for feature, reason in causes}
        with self._lock:
            self._counts.setdefault(minute, Counter()).update([*((str(f), reason) for f, reason in named), (ANY, ANY)])

    def flush(self, sink: CountSink) -> None:
        """Store every count; keep those of the running minute, and all where the database is away, up to an hour.

        Raises:
            leeway.store.predictions.PredictionLogError: the database is away.
        """
        now = self._now()
        with self._lock:
            self._counts = {minute: count for minute, count in self._counts.items() if now - minute < KEPT}
            counts = [
                RejectedItems(minute, self._process, feature, reason, items)
                for minute, count in self._counts.items()
                for (feature, reason), items in count.items()
            ]
        if not counts:
            return
        sink.write(counts)
        running = now.replace(second=0, microsecond=0)
        with self._lock:
            self._counts = {minute: count for minute, count in self._counts.items() if minute >= running}


class TallyingProbe:
    """Keeps the tally beside another probe; whatever is no refusal goes straight to that one, at no cost."""

    def __init__(self, probe: PredictionProbe, tally: RejectionTally) -> None:
        self._tell = probe.refused
        self._tally = tally
        self.trace_ref = probe.trace_ref
        self.looked_up = probe.looked_up
        self.scored = probe.scored
        self.answered = probe.answered
        self.batch_asked = probe.batch_asked
        self.batch_answered = probe.batch_answered
        self.failed = probe.failed
        self.record_spooled = probe.record_spooled
        self.record_lost = probe.record_lost

    def refused(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """See `PredictionProbe`; a check is told, but the tally is for the verdict on quality, which counts none."""
        self._tell(causes, is_synthetic=is_synthetic)
        if not is_synthetic:
            self._tally.refused(causes)


class RejectionWriter:
    """The thread that flushes the tally."""

    def __init__(self, tally: RejectionTally, sink: CountSink, interval_s: float = FLUSH_EVERY_S) -> None:
        self._tally = tally
        self._sink = sink
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rejections", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Flush once more and end."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._tally.flush(self._sink)
        except PredictionLogError:
            _log.debug("counts of refused items wait for the database", exc_info=True)
        except Exception:  # noqa: BLE001 (the thread's boundary: the next flush tries again)
            _log.exception("counts of refused items could not be stored")
