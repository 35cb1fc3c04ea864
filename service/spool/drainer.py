"""Moves answered predictions from the spool into the database, in a thread, in batches, and never gives up.

A batch is deleted from the spool only after the database has it, and writing it twice does no harm, so a crash at any
point loses nothing and doubles nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import Protocol

from leeway.schema import FeatureSchema
from leeway.store.predictions import PredictionLogError, RecordRejected
from leeway.store.record import PredictionRecord
from service.spool.file import FileLock
from service.spool.spool import Batch, Spool, SpoolError, UnknownSchema

LONGEST_PAUSE_S = 5.0
TURN_S = 0.02
REST = 5.0
"""Seconds of rest for each second of computing while more waits: requests share the interpreter with this thread."""
LONGEST_REST_S = 0.5
ROOM = 0.25
"""Beyond this share of the spool's limit there is no rest: what finds no room is lost."""


def rest_s(computed_s: float, used_bytes: int, limit_bytes: int) -> float:
    """How long to rest, in seconds, after `computed_s` on the processor; the spool holds `used_bytes` of what it may.

    Waiting for the database is no reason to rest: it keeps nobody from the interpreter.
    """
    return min(computed_s * REST, LONGEST_REST_S) if used_bytes < ROOM * limit_bytes else 0.0


class Sink(Protocol):
    """Stores records of one schema, all or none; what is there already is passed over."""

    def __call__(self, schema: FeatureSchema, records: Sequence[PredictionRecord], /) -> None:
        """Store; raises `RecordRejected` where one can never be stored, `PredictionLogError` where none can now."""
        ...


class DrainerProbe(Protocol):
    """Is told what happens in the mover's thread; must not raise."""

    def moved(self, count: int) -> None:
        """The database has `count` more predictions."""
        ...

    def database_away(self, error: Exception) -> None:
        """The database cannot be reached; told once, at the beginning of an outage."""
        ...

    def database_back(self) -> None:
        """The outage that was told of is over."""
        ...

    def refused(self, count: int, reason: str) -> None:
        """`count` predictions can never be stored; the spool keeps them aside in its table `refused`."""
        ...

    def failed(self, error: Exception) -> None:
        """A cycle failed for another reason, of the spool or of the program; the next one tries again."""
        ...


class NullDrainerProbe:
    """Is told everything and says nothing."""

    def moved(self, count: int) -> None:
        """See `DrainerProbe`."""

    def database_away(self, error: Exception) -> None:
        """See `DrainerProbe`."""

    def database_back(self) -> None:
        """See `DrainerProbe`."""

    def refused(self, count: int, reason: str) -> None:
        """See `DrainerProbe`."""

    def failed(self, error: Exception) -> None:
        """See `DrainerProbe`."""


class SpoolDrainer:
    """A daemon thread that empties the spool into `sink`. Of several processes one moves; another takes over.

    It looks every `interval_s` seconds and takes up to `batch_rows` at a time. While more waits and the spool has room,
    it rests longer than it computes. While the database is away, it waits longer and longer, up to five seconds.
    """

    def __init__(
        self, spool: Spool, sink: Sink, probe: DrainerProbe, *, interval_s: float = 0.5, batch_rows: int = 2_000
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._probe = probe
        self._interval_s = interval_s
        self._batch_rows = batch_rows
        self._pause_s = interval_s
        self._is_away = False
        self._has_more = False
        self._lease: FileLock | None = None
        self._stopping = Event()
        self._deadline_s = 0.0
        self._thread = Thread(target=self._run, name="leeway-mover", daemon=True)

    def start(self) -> None:
        """Begin moving."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Move what still waits, for at most `timeout_s`, then end; say whether the spool is empty.

        What is left in it is moved after the next start.
        """
        self._deadline_s = time.monotonic() + timeout_s
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return self._is_empty()

    def _is_empty(self) -> bool:
        try:
            return self._spool.backlog() == 0
        except SpoolError:
            return False

    def _run(self) -> None:
        pause_s = 0.0
        try:
            while not self._stopping.wait(pause_s):
                pause_s = self._cycle()
            self._drain()
        finally:
            if self._lease is not None:
                self._lease.release()

    def _drain(self) -> None:
        """Empty the spool before the deadline; where another process is at it, wait for it or for its lease."""
        while time.monotonic() < self._deadline_s:
            self._cycle()
            if self._has_more:
                continue
            if self._lease is not None or self._is_empty():
                return
            time.sleep(TURN_S)

    def _cycle(self) -> float:
        """Move one batch and carry the journal over; return the seconds to wait before the next."""
        self._has_more = False
        try:
            self._lease = self._lease or self._spool.lease()
            if self._lease is None:
                return self._interval_s
            started_s = time.thread_time()
            try:
                self._has_more = self._move_batch()
            finally:
                self._spool.checkpoint()  # also while the database is away, or the journal would only grow
            computed_s, used_bytes = time.thread_time() - started_s, self._spool.size_bytes()
        except PredictionLogError as error:
            if not self._is_away:
                self._probe.database_away(error)
            self._is_away = True
        except Exception as error:  # noqa: BLE001 (the loop's boundary: told to the probe, and gone on)
            self._probe.failed(error)
        else:
            self._pause_s = self._interval_s
            return rest_s(computed_s, used_bytes, self._spool.limit_bytes) if self._has_more else self._interval_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return self._pause_s

    def _move_batch(self) -> bool:
        """Move the oldest batch; say whether more waits."""
        batch = self._spool.take(self._batch_rows)
        if batch is None:
            return False
        if batch.unreadable:
            self._refuse(batch.unreadable, "it cannot be read")
        count = self._store(batch)
        self._spool.forget(batch)
        if count:
            self._probe.moved(count)
        return batch.has_more

    def _store(self, batch: Batch) -> int:
        """Store what can be stored of `batch`, refuse the rest, and return how many were stored."""
        try:
            schema = self._spool.schema(batch.fingerprint)
        except UnknownSchema as error:
            self._refuse([seq for seq, _ in batch.entries], str(error))
            return 0
        return self._store_entries(schema, batch.entries)

    def _store_entries(self, schema: FeatureSchema, entries: Sequence[tuple[int, PredictionRecord]]) -> int:
        """Halve what is refused until the bad record stands alone: it must not hold up the others."""
        if not entries:
            return 0
        try:
            self._sink(schema, [record for _, record in entries])
        except RecordRejected as error:
            if len(entries) == 1:
                self._refuse([entries[0][0]], str(error))
                return 0
            middle = len(entries) // 2
            return self._store_entries(schema, entries[:middle]) + self._store_entries(schema, entries[middle:])
        if self._is_away:
            self._is_away = False
            self._probe.database_back()
        return len(entries)

    def _refuse(self, seqs: Sequence[int], reason: str) -> None:
        if seqs:
            self._spool.refuse(seqs, reason)
            self._probe.refused(len(seqs), reason)
