"""Logs once when a receiver of telemetry does not answer and once when it answers again, and counts dropped items.

The SDK only logs each failed export. Its exporters and its batch processor report to an object in their attribute
`_metrics`, which counts for the SDK's own metrics; a `Receiver` takes that object's place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.common._exporter_metrics import ExportResult
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from leeway.telemetry import names
from leeway.telemetry.environment import Signal
from leeway.telemetry.instruments import observe

Exporter: TypeAlias = Any
"""One of the SDK's four OTLP exporters, which have no common base."""

PING_INTERVAL_S = 5.0
"""With `EXPORT_TIMEOUT_S`, an outage is detected within ten seconds, even if there is nothing to export."""
CHECK_INTERVAL_S = 0.5
HANGS_S = 4.0
"""An export that takes longer counts as an outage, whatever its timeout is: it is detected as early."""
_NOTHING: Mapping[Signal, object] = {"TRACES": (), "METRICS": MetricsData(resource_metrics=[])}
_log = logging.getLogger(__name__)


class Receiver:
    """Whether the receiver of one signal answers, and how many items were not delivered to it."""

    def __init__(
        self,
        signal: Signal,
        exporter: Exporter,
        processor: BatchSpanProcessor | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signal = signal.lower()
        self.dropped = 0
        self._exporter, self._processor, self._clock_s = exporter, processor, clock_s
        self._nothing = _NOTHING[signal]
        self._lock = threading.RLock()
        self._last_export_s = clock_s()
        self._began_s: float | None = None
        self._failed_s: float | None = None
        self._dropped_before = 0

    def follow(self) -> None:
        """Observe the result of each export, and what the processor drops because its queue is full.

        The providers must be built: they set the exporters' attribute as well.
        """
        self._exporter._metrics = self  # noqa: SLF001 (as the module says)
        if self._processor is not None:
            self._processor._batch_processor._metrics = self  # noqa: SLF001 (as above)

    def ping(self) -> None:
        """Send an empty export, unless a recent one has already shown whether the receiver answers."""
        if self._clock_s() - self._last_export_s >= PING_INTERVAL_S:
            self._exporter.export(self._nothing)

    @contextmanager
    def export_operation(self, num_items: int) -> Iterator[ExportResult]:
        """An export, one at a time; called by the exporter, which sets an error in the result."""
        with self._lock:
            result = ExportResult()
            self._began_s = self._clock_s()
            try:
                yield result
            finally:
                self._began_s = None
            self._last_export_s = self._clock_s()
            if result.error is None and not result.error_attrs:
                self._answered()
            else:
                self._failed(num_items, result)

    def drop_items(self, count: int, _error_type: str | None = None) -> None:
        """Items were dropped before an export; called by the processor."""
        self.dropped += count

    def finish_items(self, count: int) -> None:
        """Items were handed to the exporter; called by the processor."""

    def register_queue_size(self, read: Callable[[], int]) -> None:
        """Called by the processor, for a metric that we do not report."""

    def _answered(self) -> None:
        if self._failed_s is not None:
            silent_s, self._failed_s = self._clock_s() - self._failed_s, None
            lost = self.dropped - self._dropped_before
            _log.warning("the receiver of %s answers again after %.0f s; %d were dropped", self.signal, silent_s, lost)

    def check(self) -> None:
        """Say so if an export hangs; called by another thread than the export's."""
        began_s = self._began_s
        if began_s is not None and self._clock_s() - began_s >= HANGS_S:
            self._is_silent(f"no answer for {HANGS_S:.0f} s")

    def _failed(self, num_items: int, result: ExportResult) -> None:
        self._is_silent(_reason(result))
        self.dropped += num_items

    def _is_silent(self, reason: str) -> None:
        if self._failed_s is None:
            self._failed_s, self._dropped_before = self._clock_s(), self.dropped
            _log.warning(
                "%s do not arrive at %s: %s. No process waits for the receiver; lost items are counted in %s",
                *(self.signal, _address(self._exporter), reason, names.TELEMETRY_DROPPED.prometheus_name),
            )


@contextmanager
def watched(receivers: Sequence[Receiver], meter: Meter) -> Iterator[None]:
    """Ping the receivers during the block, and report how many items were not delivered to each."""
    if not receivers:
        yield
        return
    if logging.getLogger("opentelemetry").level == logging.NOTSET:  # otherwise OTEL_LOG_LEVEL asks for more or less
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    def dropped() -> Iterable[tuple[float, Mapping[str, str]]]:
        return [(each.dropped, {names.TELEMETRY_SIGNAL: each.signal}) for each in receivers]

    for each in receivers:
        each.follow()
    observe(meter, names.TELEMETRY_DROPPED, dropped)
    stop = threading.Event()
    threads = [threading.Thread(target=_ping, args=(each, stop), name="ping", daemon=True) for each in receivers]
    threads.append(threading.Thread(target=_check, args=(receivers, stop), name="check", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()  # a ping may hang until its timeout, and must not delay the last export


def _ping(receiver: Receiver, stop: threading.Event) -> None:
    while not stop.wait(PING_INTERVAL_S):
        try:
            receiver.ping()
        except Exception as error:  # noqa: BLE001 (the thread's boundary)
            _log.warning("the receiver of %s cannot be checked: %s", receiver.signal, error)


def _check(receivers: Sequence[Receiver], stop: threading.Event) -> None:
    while not stop.wait(CHECK_INTERVAL_S):
        for each in receivers:
            each.check()


def _address(exporter: Exporter) -> str:
    """Host and port, without a password or a path, which is often a secret."""
    endpoint = str(exporter._endpoint)  # noqa: SLF001 (what it made of the environment; for gRPC without a scheme)
    return (urlsplit(endpoint).netloc if "://" in endpoint else endpoint).rpartition("@")[2]


def _reason(result: ExportResult) -> str:
    """Why an export failed: the status of the answer, or the innermost error, which names no URL."""
    if result.error_attrs:
        status = ", ".join(map(str, result.error_attrs.values()))
        return f"the receiver answers {status}"
    error: BaseException | None = result.error
    innermost = error
    while error is not None:
        innermost = error
        error = error.__cause__ or error.__context__
    return getattr(innermost, "strerror", None) or type(innermost).__name__
