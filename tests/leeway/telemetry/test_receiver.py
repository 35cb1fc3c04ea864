"""Whether a receiver answers, over both protocols, and what it did not get."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from leeway.telemetry import names, receiver
from leeway.telemetry.receiver import PING_INTERVAL_S, Receiver, watched
from tests.leeway.telemetry.made import ENDPOINT, NOWHERE, Start, metric_exporters, span_exporters
from tests.leeway.telemetry.test_otlp import Receiver as Collector
from tests.leeway.telemetry.test_otlp import over_grpc, over_http
from tests.service.processes import eventually
from tests.telemetry import Telemetry


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


@pytest.fixture(autouse=True)
def _sdk_level() -> Iterator[None]:
    """The SDK's own level again."""
    logger = logging.getLogger("opentelemetry.exporter")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_silent_receiver_is_said_once(start: Start, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """For each signal, with its address and the reason; what it did not get is counted."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"})
    (spans,), (metrics,) = span_exporters(made), metric_exporters(made)
    for _ in range(2):
        spans.export([])
        metrics.export(receiver._NOTHING["METRICS"])
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert all("127.0.0.1:9" in line and names.TELEMETRY_DROPPED.prometheus_name in line for line in said)
    assert [line.partition(" ")[0] for line in said] == ["traces", "metrics"]


class Moody(Collector):
    """A Collector that rejects what it gets while it fails."""

    fails = True

    def take(self, request: ExportTraceServiceRequest) -> None:
        """By HTTP and gRPC."""
        self.status = 400 if self.fails else 200
        super().take(request)

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802, ANN401 (gRPC's)
        """By gRPC."""
        if self.fails:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return super().Export(request, context)


@pytest.mark.parametrize(
    ("protocol", "status"), [(over_http, "400"), (over_grpc, "INVALID_ARGUMENT")], ids=["http", "grpc"]
)
def test_a_receiver_that_is_back_is_said_once(
    protocol: Callable[[Collector], AbstractContextManager[Any]],
    status: str,
    caplog: pytest.LogCaptureFixture,
    telemetry: Telemetry,
) -> None:
    """With how long it was silent and how much was dropped; the counter keeps the sum."""
    clock, collector = Clock(), Moody()
    telemetry.providers.tracer.start_span("work").end()
    spans = telemetry.spans() * 2
    with protocol(collector) as exporter:
        watch = Receiver("TRACES", exporter, clock_s=clock)
        with watched([watch], telemetry.providers.meter):
            exporter.export(spans)
            clock.now_s, collector.fails = 7, False
            exporter.export(spans)
            exporter.export(spans)
            (point,) = telemetry.collect().points(names.TELEMETRY_DROPPED)
    lost, back = (record.message for record in caplog.records)
    assert f"the receiver answers {status}" in lost
    assert back == "the receiver of traces answers again after 7 s; 2 were dropped"
    assert (point.value, dict(point.attributes)) == (2, {names.TELEMETRY_SIGNAL: "traces"})


def test_an_idle_exporter_pings(telemetry: Telemetry) -> None:
    """It sends an empty export only if there was none recently."""
    clock, collector = Clock(), Moody()
    collector.fails = False
    with over_http(collector) as exporter:
        watch = Receiver("TRACES", exporter, clock_s=clock)
        with watched([watch], telemetry.providers.meter):
            requests: list[ExportTraceServiceRequest] = []
            collector.take = requests.append  # type: ignore[method-assign, assignment]
            watch.ping()
            clock.now_s = PING_INTERVAL_S
            watch.ping()
            watch.ping()
    assert requests == [ExportTraceServiceRequest()]


def test_an_outage_is_said_without_traffic(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The pings find it for both signals."""
    monkeypatch.setattr(receiver, "PING_INTERVAL_S", 0.01)
    start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"})
    assert eventually(lambda: len(caplog.records) == 2, wait_s=5)


def test_a_hanging_export_is_said_before_its_timeout(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, telemetry: Telemetry
) -> None:
    """Within ten seconds, however long the timeout of exports is; and that it answers, if it does."""
    monkeypatch.setattr(receiver, "CHECK_INTERVAL_S", 0.01)
    clock = Clock()
    with over_http(Collector()) as exporter:
        watch = Receiver("TRACES", exporter, clock_s=clock)
        with watched([watch], telemetry.providers.meter), watch.export_operation(1):
            clock.now_s = receiver.HANGS_S - 0.1
            watch.check()
            assert caplog.records == []
            clock.now_s = receiver.HANGS_S
            assert eventually(lambda: bool(caplog.records), wait_s=5)
    hanging, back = (record.message for record in caplog.records)
    assert "no answer for 4 s" in hanging
    assert back.startswith("the receiver of traces answers again after 0 s")
    assert receiver.PING_INTERVAL_S + receiver.HANGS_S + 2 * receiver.CHECK_INTERVAL_S < 10


def test_spans_that_overflow_the_queue_are_counted(telemetry: Telemetry) -> None:
    """A receiver that is too slow loses spans, too."""
    telemetry.providers.tracer.start_span("work").end()
    (span,) = telemetry.spans()
    with over_http(Collector()) as exporter:
        processor = BatchSpanProcessor(exporter, max_queue_size=2, max_export_batch_size=2, schedule_delay_millis=1e6)
        watch = Receiver("TRACES", exporter, processor)
        with watched([watch], telemetry.providers.meter), watch._lock:  # no export goes through
            for _ in range(10):
                processor.on_end(span)
            dropped = watch.dropped
        processor.shutdown()  # type: ignore[no-untyped-call] # the SDK's
    assert 6 <= dropped <= 8  # two are in the export that waits, as far as its thread has taken them
