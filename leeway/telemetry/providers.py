"""Builds the two OpenTelemetry providers and flushes them on exit. Nothing is global, nothing happens at import."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, Tracer, TracerProvider

from leeway.telemetry.environment import (
    TelemetryError,
    batch_spans,
    disabled,
    exporters,
    limits_spans,
    protocol,
    timeout_s,
)
from leeway.telemetry.exporters import (
    MetricsText,
    SpansFileExporter,
    console_metric_exporter,
    console_span_exporter,
    prometheus_text,
)
from leeway.telemetry.instruments import our_views
from leeway.telemetry.receiver import Receiver, watched
from leeway.telemetry.span_buffer import EncodedSpanExporter, OtlpSpanProcessor, SpanBuffer, is_supported

EXPORT_BATCH_SPANS = 128
"""Encoding a batch holds the interpreter lock; small batches delay requests less."""
FLUSH_TIMEOUT_S = 8.0
ATTRIBUTE_CHARACTERS = 1_024
"""Default maximum length of a span attribute's text, because spans stay in memory until they are sent."""
SCOPE = "leeway"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessIdentity:
    """The emitting process: `name` is the service name; `instance` is unique per process."""

    name: str
    version: str
    instance: str


@dataclass(frozen=True)
class Providers:
    """The tracer and meter providers. `metrics_text` is None if the process does not serve `/metrics`."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    metrics_text: MetricsText | None = None
    enabled: bool = True
    span_buffer: SpanBuffer | None = None
    """Takes spans after the fact; None where a span processor or a limit of the environment needs the SDK's spans."""

    @property
    def tracer(self) -> Tracer:
        """The tracer of Leeway."""
        return self.tracer_provider.get_tracer(SCOPE)

    @property
    def meter(self) -> Meter:
        """The meter of Leeway."""
        return self.meter_provider.get_meter(SCOPE)


DISABLED = Providers(NoOpTracerProvider(), NoOpMeterProvider(), enabled=False)


@contextmanager
def providers_from_environment(
    identity: ProcessIdentity, *, metrics_endpoint: bool, spans_file: Path | None = None
) -> Iterator[Providers]:
    """Yield the providers that the environment configures, and flush them on exit within `FLUSH_TIMEOUT_S`.

    Raises:
        TelemetryError: an exporter cannot be built, or the spans file cannot be written.
    """
    if disabled():
        yield DISABLED
        return
    reader, metrics_text = prometheus_text() if metrics_endpoint else (None, None)
    receivers: list[Receiver] = []
    with ExitStack() as stack:
        try:
            providers = stack.enter_context(
                build_providers(
                    identity,
                    _span_processors(spans_file, receivers),
                    _metric_readers(reader, receivers),
                    metrics_text,
                )
            )
            stack.enter_context(watched(receivers, providers.meter))
        except TelemetryError:
            raise
        except Exception as error:  # exporters have their own types of errors
            raise TelemetryError(f"invalid OTEL_* variable: {error}") from error
        yield providers


def _span_processors(spans_file: Path | None, receivers: list[Receiver]) -> Iterator[SpanProcessor]:
    if spans_file is not None:
        yield BatchSpanProcessor(_spans_file(spans_file), schedule_delay_millis=500)
    if "otlp" in exporters("TRACES"):
        exporter = _otlp_span_exporter()
        processor = OtlpSpanProcessor(exporter, max_export_batch_size=batch_spans(EXPORT_BATCH_SPANS))
        receiver = Receiver("TRACES", exporter, processor)
        processor.on_drop = receiver.drop_items
        receivers.append(receiver)
        yield processor
    if "console" in exporters("TRACES"):
        yield SimpleSpanProcessor(console_span_exporter())


def _metric_readers(prometheus: MetricReader | None, receivers: list[Receiver]) -> Iterator[MetricReader]:
    if "otlp" in exporters("METRICS"):
        exporter = _otlp_metric_exporter()
        receivers.append(Receiver("METRICS", exporter))
        yield PeriodicExportingMetricReader(exporter)
    if "console" in exporters("METRICS"):
        yield PeriodicExportingMetricReader(console_metric_exporter())
    if prometheus is not None:
        yield prometheus


@contextmanager
def build_providers(
    identity: ProcessIdentity,
    processors: Iterable[SpanProcessor],
    readers: Iterable[MetricReader],
    metrics_text: MetricsText | None = None,
) -> Iterator[Providers]:
    """Yield providers over these processors and readers; tests pass ones that keep everything in memory.

    Each processor and reader is added to its provider as soon as it exists, so that the threads of the earlier ones
    are stopped if a later one cannot be built.

    >>> from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    >>> from leeway.telemetry.instruments import counter
    >>> from leeway.telemetry.names import LOG_WRITTEN
    >>> reader = InMemoryMetricReader()
    >>> with build_providers(ProcessIdentity("leeway-service", "1.0", "a"), [], [reader]) as providers:
    ...     counter(providers.meter, LOG_WRITTEN).add(3)
    ...     collected = reader.get_metrics_data()
    >>> collected.resource_metrics[0].scope_metrics[0].metrics[0].name
    'leeway.prediction_log.written'
    """
    resource = _resource(identity)
    tracer_provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False, span_limits=_span_limits())
    meter_provider = SdkMeterProvider(resource=resource, views=our_views(), shutdown_on_exit=False)
    shutdowns: list[Callable[[], object]] = [tracer_provider.shutdown, meter_provider.shutdown]
    span_buffer = SpanBuffer(tracer_provider)
    tracer_provider.add_span_processor(span_buffer)
    is_every_one_supported = not limits_spans()
    try:
        for processor in processors:
            tracer_provider.add_span_processor(processor)
            span_buffer.forward_to(processor)
            is_every_one_supported &= is_supported(processor)
        for reader in readers:
            meter_provider.add_metric_reader(reader)
            shutdowns.append(
                partial(reader.shutdown, FLUSH_TIMEOUT_S * 1_000)
            )  # the provider does not shut down readers that were added later
        usable = span_buffer if is_every_one_supported else None
        yield Providers(tracer_provider, meter_provider, metrics_text, span_buffer=usable)
    finally:
        _at_once(shutdowns, FLUSH_TIMEOUT_S)


def _resource(identity: ProcessIdentity) -> Resource:
    """Our attributes, overridden by `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`."""
    ours = {
        "service.name": identity.name,
        "service.version": identity.version,
        "service.namespace": "leeway",
        "service.instance.id": identity.instance,
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _span_limits() -> SpanLimits:
    """The limits in the environment, which the SDK reads, and our length if it sets none."""
    given = SpanLimits()
    if given.max_span_attribute_length is not None:
        return given
    return SpanLimits(max_span_attribute_length=ATTRIBUTE_CHARACTERS)


def _otlp_span_exporter() -> EncodedSpanExporter:
    if protocol("TRACES") == "grpc":
        from leeway.telemetry.otlp_grpc import GrpcSpanExporter, options  # noqa: PLC0415 (14 MiB, only if needed)

        return GrpcSpanExporter(**options("TRACES"))
    from leeway.telemetry.otlp_http import HttpSpanExporter  # noqa: PLC0415 (as above)

    return HttpSpanExporter(timeout=timeout_s("TRACES"))


def _otlp_metric_exporter() -> MetricExporter:
    if protocol("METRICS") == "grpc":
        from leeway.telemetry.otlp_grpc import GrpcMetricExporter, options  # noqa: PLC0415 (as above)

        return GrpcMetricExporter(**options("METRICS"))
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 (as above)

    return OTLPMetricExporter(timeout=timeout_s("METRICS"))


def _spans_file(path: Path) -> SpansFileExporter:
    try:
        return SpansFileExporter(path)
    except OSError as error:
        raise TelemetryError(f"LEEWAY_SPANS_FILE={path}: {error.strerror}; name a writable file") from error


def _at_once(calls: Sequence[Callable[[], object]], timeout_s: float) -> None:
    """Run the calls in parallel and wait for them, but no longer than `timeout_s`.

    The SDK's timeouts do not stop a running export, so the threads are daemons.
    """
    threads = [threading.Thread(target=_flush, args=(call,), name="flush", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))


def _flush(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (the thread's boundary: on exit an error can only be logged)
        _log.warning("the last spans or measurements could not be delivered: %s", error)
