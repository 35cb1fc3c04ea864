"""Writes predictions from the spool to the database in batches, and retries forever.

A batch is deleted from the spool only after the database has stored it, and writing a batch twice does no harm. A crash
at any point therefore neither loses nor duplicates a prediction.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TypeAlias

from leeway.schema import FeatureSchema
from leeway.store.engine import Engine, create_tables, translated
from leeway.store.predictions import PredictionLog, PredictionLogError, RecordRejected
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.reader import Batch, DeadLetter, Origin, SpoolReader, UnknownSchema
from service.spool.segments import SpoolError

MAX_RETRY_DELAY_S = 5.0
POLL_S = 0.02


WriteRecords: TypeAlias = Callable[[FeatureSchema, Sequence[PredictionRecord], Origin], None]
"""Stores records of one schema, all or none, and skips those that are stored already.

Raises `RecordRejected` if one of them can never be stored, `PredictionLogError` if none can be stored now.
"""


class PredictionWriter:
    """Writes records to the tables of their schema, and creates missing tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logs: dict[str, PredictionLog] = {}

    def write(self, schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin) -> None:  # noqa: ARG002
        """Store `records` of one schema; see `WriteRecords`. The database knows them by their ids."""
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


class DrainerProbe:
    """Receives the events of the drainer's thread; this base class ignores them. Implementations must not raise."""

    def written(self, count: int) -> None:
        """The database has stored `count` more predictions."""

    def outage_began(self, error: Exception) -> None:
        """The database became unreachable; called once for each outage."""

    def outage_ended(self) -> None:
        """The database is reachable again."""

    def dead_lettered(self, count: int, reason: str) -> None:
        """`count` predictions can never be stored and were moved to the spool's dead letters."""

    def torn(self, count: int) -> None:
        """`count` bytes of a write that never completed were moved to the spool's dead letters."""

    def failed(self, error: Exception) -> None:
        """A cycle failed for another reason, in the spool or the program; the next cycle retries."""


class SpoolDrainer:
    """A daemon thread that empties the spool through `write`. Only one of several processes drains at a time.

    It polls every `interval_s` seconds and takes up to `batch_rows` at a time, without a pause while more records wait.
    Before each pause it calls `then`, which raises like `write`.
    During an outage of the database the delay doubles, up to five seconds. The service runs it in a process of its own
    (`service.spool.__main__`), because it would compete with requests for the interpreter.
    """

    def __init__(
        self,
        reader: SpoolReader,
        write: WriteRecords,
        probe: DrainerProbe,
        *,
        interval_s: float = 0.5,
        batch_rows: int = 2_000,
        then: Callable[[], None] | None = None,
    ) -> None:
        self._reader = reader
        self._write = write
        self._probe = probe
        self._interval_s = interval_s
        self._batch_rows = batch_rows
        self._then = then
        self._retry_delay_s = interval_s
        self._is_outage = False
        self._has_more = self._has_taken = False
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

    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _is_empty(self) -> bool:
        try:
            return self._reader.is_empty()
        except SpoolError:
            return False

    def _run(self) -> None:
        delay_s = 0.0
        try:
            while not self._stopping.wait(delay_s):
                delay_s = self._cycle()
            self._drain()
        finally:
            self._reader.release()

    def _drain(self) -> None:
        """Empty the spool before the deadline; if another process drains it, wait for that or for its lease."""
        while time.monotonic() < self._deadline_s:
            self._cycle()
            if self._has_taken:  # others may wait in another segment
                continue
            if self._reader.holds_lease or self._is_empty():
                return
            time.sleep(POLL_S)

    def _cycle(self) -> float:
        """Write one batch; return the seconds to wait before the next cycle."""
        self._has_more = self._has_taken = False
        try:
            if not self._reader.lease():
                return self._interval_s
            self._has_more = self._drain_batch()
            if self._then is not None and not self._has_more:
                self._then()
            self._reader.beat()
        except PredictionLogError as error:
            self._begin_outage(error)
        except Exception as error:  # noqa: BLE001 (the loop's boundary: reported to the probe, then retried)
            self._probe.failed(error)
        else:
            self._retry_delay_s = self._interval_s
            return 0.0 if self._has_more else self._interval_s
        self._retry_delay_s = min(2 * self._retry_delay_s, MAX_RETRY_DELAY_S)
        return self._retry_delay_s

    def _begin_outage(self, error: PredictionLogError) -> None:
        if not self._is_outage:
            self._probe.outage_began(error)
        self._is_outage = True
        try:
            self._reader.beat(is_outage=True)
        except SpoolError as unwritable:
            self._probe.failed(unwritable)

    def _drain_batch(self) -> bool:
        """Write the oldest batch; return whether more records wait."""
        batch = self._reader.take(self._batch_rows)
        if batch is None:
            return False
        letters = [*_damaged(batch), *self._store(batch)]
        torn = [_letter(batch, batch.torn, "torn write")] if batch.torn else []
        if letters or torn:
            self._reader.keep_dead_letters([*letters, *torn])  # last, because a failure before repeats the whole batch
        self._reader.ack(batch, len(letters))
        self._has_taken = True
        self._report(batch, letters)
        return batch.has_more

    def _report(self, batch: Batch, letters: Sequence[DeadLetter]) -> None:
        for reason, count in Counter(letter.reason for letter in letters).items():
            self._probe.dead_lettered(count, reason)
        if batch.torn:
            self._probe.torn(len(batch.torn))
        if written := len(batch.records) + len(batch.damaged) - len(letters):
            self._probe.written(written)

    def _store(self, batch: Batch) -> list[DeadLetter]:
        """Store `batch`; return what can never be stored."""
        if not batch.records:
            return []
        try:
            schema = self._reader.schema(batch.segment.fingerprint)
        except UnknownSchema as error:
            return [_letter(batch, record.to_json(), str(error)) for record in batch.records]
        rejected = self._store_records(schema, batch.records, batch.origin)
        return [_letter(batch, record.to_json(), reason) for record, reason in rejected]

    def _store_records(
        self, schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin
    ) -> list[tuple[PredictionRecord, str]]:
        """Halve rejected records until the bad one is alone, so that it does not hold up the others."""
        try:
            self._write(schema, records, origin)
        except RecordRejected as error:
            if len(records) == 1:
                return [(records[0], str(error))]
            middle = len(records) // 2
            return [
                *self._store_records(schema, records[:middle], origin._replace(ends=origin.ends[:middle])),
                *self._store_records(schema, records[middle:], origin._replace(ends=origin.ends[middle:])),
            ]
        if self._is_outage:
            self._is_outage = False
            self._probe.outage_ended()
        return []


def _damaged(batch: Batch) -> list[DeadLetter]:
    return [_letter(batch, line, "damaged record") for line in batch.damaged]


def _letter(batch: Batch, content: bytes, reason: str) -> DeadLetter:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # which has a character for each byte
    return DeadLetter(reason, batch.segment.fingerprint, text)
