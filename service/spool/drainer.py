"""Writes predictions from the spool to the database, in a background thread, in batches, and retries forever.

A batch is deleted from the spool only after the database has stored it, and writing a batch twice does no harm. A crash
at any point therefore neither loses nor duplicates a prediction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TypeAlias

from leeway.schema import FeatureSchema
from leeway.store.engine import Engine, create_tables, translated
from leeway.store.predictions import PredictionLog, PredictionLogError, RecordRejected
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.file import FileLock
from service.spool.spool import Batch, Spool, SpoolError, UnknownSchema

MAX_RETRY_DELAY_S = 5.0
POLL_S = 0.02
REST_RATIO = 5.0
"""Seconds of rest per second of computing while more records wait: requests share the interpreter with this thread."""
MAX_REST_S = 0.5
REST_BELOW = 0.25
"""Above this share of the spool's limit the drainer does not rest, because a full spool loses predictions."""

WriteRecords: TypeAlias = Callable[[FeatureSchema, Sequence[PredictionRecord]], None]
"""Stores records of one schema, all or none, and skips those that are stored already.

Raises `RecordRejected` if one of them can never be stored, `PredictionLogError` if none can be stored now.
"""


class PredictionWriter:
    """Writes records to the tables of their schema, and creates missing tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logs: dict[str, PredictionLog] = {}

    def write(self, schema: FeatureSchema, records: Sequence[PredictionRecord]) -> None:
        """Store `records` of one schema; see `WriteRecords`."""
        try:
            self._log(schema).write_batch(records)
        except RecordRejected:
            raise
        except PredictionLogError:
            self._logs.pop(schema.fingerprint, None)  # the database may come back without its tables
            raise

    def _log(self, schema: FeatureSchema) -> PredictionLog:
        if schema.fingerprint not in self._logs:
            tables = tables_for(schema)
            with translated(into=PredictionLogError):
                create_tables(self._engine, tables)
            self._logs[schema.fingerprint] = PredictionLog(self._engine, tables)
        return self._logs[schema.fingerprint]


def rest_s(computed_s: float, used_bytes: int, limit_bytes: int) -> float:
    """How long to rest, in seconds, after `computed_s` of processor time; the spool uses `used_bytes` of its limit.

    Time spent waiting for the database does not count, because it leaves the interpreter to requests.
    """
    return min(computed_s * REST_RATIO, MAX_REST_S) if used_bytes < REST_BELOW * limit_bytes else 0.0


class DrainerProbe:
    """Receives the events of the drainer's thread; this base class ignores them. Implementations must not raise."""

    def written(self, count: int) -> None:
        """The database has stored `count` more predictions."""

    def outage_began(self, error: Exception) -> None:
        """The database became unreachable; called once for each outage."""

    def outage_ended(self) -> None:
        """The database is reachable again."""

    def dead_lettered(self, count: int, reason: str) -> None:
        """`count` predictions can never be stored and were moved to the spool's table `dead_letters`."""

    def failed(self, error: Exception) -> None:
        """A cycle failed for another reason, in the spool or the program; the next cycle retries."""


class SpoolDrainer:
    """A daemon thread that empties the spool through `write`. Of several processes one drains; another takes over.

    It polls every `interval_s` seconds and takes up to `batch_rows` at a time. While more records wait and the spool
    has room, it rests longer than it computes. During an outage of the database the delay doubles, up to five seconds.
    """

    def __init__(
        self,
        spool: Spool,
        write: WriteRecords,
        probe: DrainerProbe,
        *,
        interval_s: float = 0.5,
        batch_rows: int = 2_000,
    ) -> None:
        self._spool = spool
        self._write = write
        self._probe = probe
        self._interval_s = interval_s
        self._batch_rows = batch_rows
        self._retry_delay_s = interval_s
        self._is_outage = False
        self._has_more = False
        self._lease: FileLock | None = None
        self._stopping = Event()
        self._deadline_s = 0.0
        self._thread = Thread(target=self._run, name="leeway-drainer", daemon=True)

    def start(self) -> None:
        """Start draining."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Drain for at most `timeout_s`, then end; return whether the spool is empty.

        The next start drains what is left.
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
        delay_s = 0.0
        try:
            while not self._stopping.wait(delay_s):
                delay_s = self._cycle()
            self._drain()
        finally:
            if self._lease is not None:
                self._lease.release()

    def _drain(self) -> None:
        """Empty the spool before the deadline; if another process drains it, wait for that or for its lease."""
        while time.monotonic() < self._deadline_s:
            self._cycle()
            if self._has_more:
                continue
            if self._lease is not None or self._is_empty():
                return
            time.sleep(POLL_S)

    def _cycle(self) -> float:
        """Write one batch and checkpoint; return the seconds to wait before the next cycle."""
        self._has_more = False
        try:
            self._lease = self._lease or self._spool.lease()
            if self._lease is None:
                return self._interval_s
            started_s = time.thread_time()
            try:
                self._has_more = self._drain_batch()
            finally:
                self._spool.checkpoint()  # during an outage too, or the journal would only grow
            computed_s, used_bytes = time.thread_time() - started_s, self._spool.size_bytes()
        except PredictionLogError as error:
            if not self._is_outage:
                self._probe.outage_began(error)
            self._is_outage = True
        except Exception as error:  # noqa: BLE001 (the loop's boundary: reported to the probe, then retried)
            self._probe.failed(error)
        else:
            self._retry_delay_s = self._interval_s
            return rest_s(computed_s, used_bytes, self._spool.limit_bytes) if self._has_more else self._interval_s
        self._retry_delay_s = min(2 * self._retry_delay_s, MAX_RETRY_DELAY_S)
        return self._retry_delay_s

    def _drain_batch(self) -> bool:
        """Write the oldest batch; return whether more records wait."""
        batch = self._spool.take(self._batch_rows)
        if batch is None:
            return False
        if batch.unreadable:
            self._move_to_dead_letters(batch.unreadable, "unreadable record")
        count = self._store(batch)
        self._spool.ack(batch)
        if count:
            self._probe.written(count)
        return batch.has_more

    def _store(self, batch: Batch) -> int:
        """Store `batch`, move what can never be stored to the dead letters; return how many records were stored."""
        try:
            schema = self._spool.schema(batch.fingerprint)
        except UnknownSchema as error:
            if batch.entries:
                self._move_to_dead_letters([seq for seq, _ in batch.entries], str(error))
            return 0
        return self._store_entries(schema, batch.entries)

    def _store_entries(self, schema: FeatureSchema, entries: Sequence[tuple[int, PredictionRecord]]) -> int:
        """Halve rejected entries until the bad record is alone, so that it does not hold up the others."""
        if not entries:
            return 0
        try:
            self._write(schema, [record for _, record in entries])
        except RecordRejected as error:
            if len(entries) == 1:
                self._move_to_dead_letters([entries[0][0]], str(error))
                return 0
            middle = len(entries) // 2
            return self._store_entries(schema, entries[:middle]) + self._store_entries(schema, entries[middle:])
        if self._is_outage:
            self._is_outage = False
            self._probe.outage_ended()
        return len(entries)

    def _move_to_dead_letters(self, seqs: Sequence[int], reason: str) -> None:
        self._spool.move_to_dead_letters(seqs, reason)
        self._probe.dead_lettered(len(seqs), reason)
