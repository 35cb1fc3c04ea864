"""A bounded buffer of finished requests; a background thread makes spans of them and sends these."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from leeway.telemetry.environment import batch_setting
from leeway.telemetry.span_encoding import EncodedSpans
from leeway.telemetry.span_records import RecordEncoder, SpanRecord

CAPACITY: Final = 32_768
"""Default of `OTEL_BSP_MAX_QUEUE_SIZE`: how many spans the buffer holds."""
WAKE_AT: Final = 2_048
"""With this many spans in the buffer, the thread exports at once instead of after the interval."""
SEND_AT_MOST: Final = 2_048
"""Default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, spans per export: a Collector accepts 4 MiB over gRPC."""
INTERVAL_MS: Final = 500
"""Default of `OTEL_BSP_SCHEDULE_DELAY`: the time between two exports."""
PAUSE_EVERY: Final = 16
"""Pause after this many buffered objects, so that an export does not delay requests."""
PAUSE_S: Final = 0.00001
"""Long enough that the event loop's thread gets the interpreter lock. `sleep(0)` only releases it: on one core this
thread goes on running, and takes it back before the other thread has noticed."""
_log = logging.getLogger(__name__)

SpansOf: TypeAlias = Callable[[Any], Sequence[SpanRecord]]
"""Makes the spans of one buffered object."""


class EncodedSpanExporter(SpanExporter, ABC):
    """An exporter that also takes spans that are encoded already."""

    @abstractmethod
    def export_encoded(self, spans: EncodedSpans) -> SpanExportResult:
        """Send spans; callable from any thread."""


class OtlpSpanProcessor(BatchSpanProcessor):
    """The SDK's processor, whose exporter takes encoded spans as well."""

    def __init__(self, exporter: EncodedSpanExporter, max_export_batch_size: int | None = None) -> None:
        super().__init__(exporter, max_export_batch_size=max_export_batch_size)
        self.export_encoded = exporter.export_encoded
        self.on_drop: Callable[[int], None] | None = None
        """Takes the number of spans that were dropped before an export."""


def is_supported(processor: SpanProcessor) -> bool:
    """Whether a processor needs finished spans only; another must see a span when it starts."""
    own = type(processor).on_start
    return isinstance(processor, BatchSpanProcessor | SimpleSpanProcessor) and own in {
        BatchSpanProcessor.on_start,
        SimpleSpanProcessor.on_start,
    }


class SpanBuffer(SpanProcessor):
    """Buffers finished objects, and makes spans of them later.

    What it cannot hold is dropped, and reported to `OtlpSpanProcessor.on_drop`.
    It is the provider's first processor: a flush or a shutdown of the provider empties it before the others.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._resource = provider.resource
        self._encoder = RecordEncoder(provider.resource)
        self._processors: list[SpanProcessor] = []
        self._waiting: deque[tuple[SpansOf, Sequence[Any], int]] = deque()
        self._added = self._taken = 0  # each is changed by one thread only
        self._capacity = batch_setting("MAX_QUEUE_SIZE", CAPACITY)
        self._wake_at = min(WAKE_AT, self._capacity // 2)
        self._send_at_most = batch_setting("MAX_EXPORT_BATCH_SIZE", SEND_AT_MOST)
        self._interval_s = batch_setting("SCHEDULE_DELAY", INTERVAL_MS) / 1_000
        self._wake, self._stopping = threading.Event(), False
        self._draining = threading.Lock()
        self._thread: threading.Thread | None = None

    def forward_to(self, processor: SpanProcessor) -> None:
        """Hand spans on to `processor`, which `is_supported`."""
        self._processors.append(processor)

    def add(self, spans_of: SpansOf, finished: Sequence[Any], spans: int) -> None:
        """Buffer finished objects, of each of which `spans_of` makes spans later; called by one thread only.

        `spans` is how many they make together.
        """
        if not self._processors:
            return
        count = self._added - self._taken + spans
        if count > self._capacity or self._stopping:
            self._drop(spans)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="leeway-spans", daemon=True)
            self._thread.start()
        self._waiting.append((spans_of, finished, spans))
        self._added += spans
        if count >= self._wake_at and not self._wake.is_set():
            self._wake.set()

    def _drop(self, spans: int) -> None:
        for processor in self._processors:
            if isinstance(processor, OtlpSpanProcessor) and processor.on_drop is not None:
                processor.on_drop(spans)

    def on_start(self, span: Span, parent_context: object = None) -> None:
        """Ignore the SDK's own spans, which go to the other processors."""

    def on_end(self, span: ReadableSpan) -> None:
        """As above."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hand on everything that waits."""
        del timeout_millis  # exporters have timeouts of their own
        self._drain()
        return True

    def shutdown(self) -> None:
        """Hand on everything that waits, and end the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._drain()  # what was added during the thread's last export

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            self._drain()

    def _drain(self) -> None:
        with self._draining:
            spans, is_more = self._spans(), True
            while is_more:
                try:
                    is_more = self._send(islice(spans, self._send_at_most)) > 0
                except Exception:  # noqa: BLE001 (the thread's boundary: logged, and the next ones may be better)
                    _log.exception("spans could not be sent")

    def _spans(self) -> Iterator[SpanRecord]:
        """The spans of all objects, oldest first; the interpreter is free for other threads every few of them."""
        made = 0
        while self._waiting:
            spans_of, finished, spans = self._waiting.popleft()
            self._taken += spans
            for each in finished:
                try:
                    yield from spans_of(each)
                except Exception:  # noqa: BLE001 (a boundary: logged, and the others are not at fault)
                    _log.exception("spans could not be made")
                    self._drop(spans // len(finished))
                made += 1
                if made % PAUSE_EVERY == 0:
                    time.sleep(PAUSE_S)

    def _send(self, records: Iterable[SpanRecord]) -> int:
        """Hand on these spans and return how many they were."""
        others = [each for each in self._processors if not isinstance(each, OtlpSpanProcessor)]
        if others:
            records = list(records)
        for processor in others:
            for record in records:
                processor.on_end(record.readable(self._resource))
            processor.force_flush()  # they have waited here, and would wait as long again
        encoded = self._encoder.encode(records)
        for processor in self._processors:
            if encoded.count and isinstance(processor, OtlpSpanProcessor):
                processor.export_encoded(encoded)
        return encoded.count
