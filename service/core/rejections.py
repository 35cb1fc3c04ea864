"""Counts rejected items per minute. A background thread stores the counts, so no request waits for the database."""

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
from service.telemetry.probe import Cause

FLUSH_EVERY_S = 5.0
KEPT = timedelta(hours=1)
_log = logging.getLogger(__name__)


class CountSink(Protocol):
    """`leeway.store.rejections.RejectionLog`, or a fake."""

    def write(self, counts: Sequence[RejectedItems]) -> None:
        """Store the counts, or raise `leeway.store.predictions.PredictionLogError`."""


class RejectionTally:
    """What this process rejected, until it is stored. Safe to call from several threads.

    Features come from the schema and reasons from a fixed set, so the number of counts per minute is bounded,
    whatever clients send.
    """

    def __init__(self, features: Iterable[str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._known = frozenset(features)
        self._now = now
        self._process = str(uuid_utils.uuid7())
        self._lock = threading.Lock()
        self._counts: dict[datetime, Counter[tuple[str, str]]] = {}

    def add(self, causes: Iterable[Cause]) -> None:
        """Count one rejected item under each (feature, reason)."""
        minute = self._now().replace(second=0, microsecond=0)
        named = {(str(feature) if feature in self._known else ANY, reason) for feature, reason in causes}
        with self._lock:
            self._counts.setdefault(minute, Counter()).update([*named, (ANY, ANY)])

    def flush(self, sink: CountSink) -> None:
        """Store every count; keep those of the current minute, and for up to an hour those that cannot be stored.

        Raises:
            leeway.store.predictions.PredictionLogError: the database is unreachable.
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
        current = now.replace(second=0, microsecond=0)
        with self._lock:
            self._counts = {minute: count for minute, count in self._counts.items() if minute >= current}


class RejectionWriter:
    """The thread that flushes the tally."""

    def __init__(self, tally: RejectionTally, sink: CountSink, interval_s: float = FLUSH_EVERY_S) -> None:
        self._tally = tally
        self._sink = sink
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rejections", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Flush once more and end the thread."""
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
            _log.debug("counts of rejected items wait for the database", exc_info=True)
        except Exception:  # noqa: BLE001 (the thread's boundary: the next flush tries again)
            _log.exception("counts of rejected items could not be stored")
