from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from leeway.telemetry import instruments, names, providers
from leeway.telemetry.otlp_grpc import GrpcSpanExporter
from leeway.telemetry.otlp_http import HttpSpanExporter
from leeway.telemetry.providers import (
    EXPORT_TIMEOUT_S,
    ProcessIdentity,
    Providers,
    TelemetryError,
    build_providers,
    providers_from_environment,
    serves_metrics,
)
from tests.telemetry import IDENTITY, Telemetry, telemetry_in_memory

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NOWHERE = "http://127.0.0.1:9"

Start = Callable[..., Providers]


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without any endpoint, protocol or switch."""
    for name in ("ENDPOINT", "PROTOCOL", "TIMEOUT"):
        for signal in ("", "_TRACES", "_METRICS"):
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP{signal}_{name}", raising=False)
    for name in ("SDK_DISABLED", "SERVICE_NAME", "RESOURCE_ATTRIBUTES", "TRACES_EXPORTER", "METRICS_EXPORTER"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry in memory."""
    with telemetry_in_memory() as made:
        yield made


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Make providers from the environment, given as keywords; the flush at the end gives up at once."""
    monkeypatch.setattr(providers, "FLUSH_TIMEOUT_S", 0.2)
    with ExitStack() as stack:

        def make(*, metrics_endpoint: bool = False, spans_file: Path | None = None, **environment: str) -> Providers:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            return stack.enter_context(
                providers_from_environment(IDENTITY, metrics_endpoint=metrics_endpoint, spans_file=spans_file)
            )

        yield make


def span_exporters(made: Providers) -> list[Any]:
    """Where spans go."""
    assert isinstance(made.tracer_provider, TracerProvider)
    processors: Any = made.tracer_provider._active_span_processor._span_processors
    return [processor.span_exporter for processor in processors]


def metric_exporters(made: Providers) -> list[Any]:
    """Where metrics are pushed to."""
    assert isinstance(made.meter_provider, MeterProvider)
    readers: Any = made.meter_provider._metric_readers
    return [reader._exporter for reader in readers if hasattr(reader, "_exporter")]


def timeout_of(exporter: Any) -> float:  # noqa: ANN401 (four classes without a common base)
    """Seconds that one export may take."""
    return float((exporter._client if type(exporter) in {HttpSpanExporter, OTLPMetricExporter} else exporter)._timeout)


def resource_of(made: Providers) -> dict[str, Any]:
    """The resource's attributes."""
    assert isinstance(made.tracer_provider, TracerProvider)
    return dict(made.tracer_provider.resource.attributes)


def test_the_resource_says_who_emits(telemetry: Telemetry) -> None:
    """Name, version, namespace and instance stand in the resource."""
    attributes = resource_of(telemetry.providers)
    expected = {
        "service.name": "leeway-service",
        "service.version": "1.2.3",
        "service.namespace": "leeway",
        "service.instance.id": "test-1",
    }
    assert attributes | expected == attributes


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "expected"),
    [
        ("OTEL_SERVICE_NAME", "mine", "service.name", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=service", "service.instance.id", "service"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod", "deployment.environment.name", "prod"),
    ],
)
def test_the_environment_goes_before_our_resource(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, attribute: str, expected: str
) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over what we say."""
    monkeypatch.setenv(variable, value)
    with telemetry_in_memory() as telemetry:
        assert resource_of(telemetry.providers)[attribute] == expected


@pytest.mark.parametrize("metric", names.OUR_HISTOGRAMS, ids=lambda metric: metric.name)
def test_our_buckets_reach_the_reader(telemetry: Telemetry, metric: names.Metric) -> None:
    """Every histogram of ours is collected with the bounds that `names` states."""
    instruments.histogram(telemetry.providers.meter, metric).record(0)
    (point,) = telemetry.collect().points(metric)
    assert point.explicit_bounds == metric.buckets


@pytest.mark.parametrize("metric", names.OUR_HISTOGRAMS, ids=lambda metric: metric.name)
def test_only_stated_attributes_reach_the_reader(telemetry: Telemetry, metric: names.Metric) -> None:
    """What a client could invent, such as a host, makes no series."""
    instruments.histogram(telemetry.providers.meter, metric).record(0, {"server.address": "evil.example"})
    (point,) = telemetry.collect().points(metric)
    assert dict(point.attributes) == {}


def test_no_endpoint_exports_nothing(start: Start) -> None:
    """Without an endpoint nothing is pushed anywhere."""
    made = start()
    assert (span_exporters(made), metric_exporters(made)) == ([], [])


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ({}, (HttpSpanExporter, OTLPMetricExporter)),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, (HttpSpanExporter, OTLPMetricExporter)),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, (GrpcSpanExporter, GrpcMetricExporter)),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, (GrpcSpanExporter, OTLPMetricExporter)),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"},
            (GrpcSpanExporter, OTLPMetricExporter),
        ),
    ],
    ids=["default", "http", "grpc", "grpc for traces", "http for metrics"],
)
def test_the_protocol_chooses_the_exporters(
    start: Start, protocol: dict[str, str], expected: tuple[type, type]
) -> None:
    """`OTEL_EXPORTER_OTLP_PROTOCOL` chooses, and a signal's own variable goes before it."""
    made = start(**{ENDPOINT: NOWHERE}, **protocol)
    assert (type(span_exporters(made)[0]), type(metric_exporters(made)[0])) == expected


@pytest.mark.parametrize("signal", ["", "_TRACES", "_METRICS"])
def test_an_unknown_protocol_is_refused(start: Start, signal: str) -> None:
    """Another protocol is an error that says which would do."""
    with pytest.raises(TelemetryError, match=r"'http/json'.*grpc or http/protobuf"):
        start(**{ENDPOINT: NOWHERE, f"OTEL_EXPORTER_OTLP{signal}_PROTOCOL": "http/json"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "perhaps"),
    ],
)
def test_a_value_that_the_sdk_cannot_read_is_refused(start: Start, variable: str, value: str) -> None:
    """What would be a traceback from the SDK is an error that names the value."""
    with pytest.raises(TelemetryError, match=value):
        start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", variable: value})


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_export_gives_up_early(start: Start, protocol: str) -> None:
    """A Collector that hangs costs two seconds an export, so that a shutdown stays short."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    exporters = [*span_exporters(made), *metric_exporters(made)]
    assert [timeout_of(exporter) for exporter in exporters] == [EXPORT_TIMEOUT_S] * 2


def test_the_environment_goes_before_our_timeout(start: Start) -> None:
    """`OTEL_EXPORTER_OTLP_TIMEOUT` wins over our two seconds."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_TIMEOUT": "7"})
    assert timeout_of(span_exporters(made)[0]) == 7


def test_an_endpoint_for_one_signal_exports_that_one(start: Start) -> None:
    """With an endpoint for traces alone, no metrics are pushed to a default address."""
    made = start(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{NOWHERE}/v1/traces")
    assert (len(span_exporters(made)), metric_exporters(made)) == (1, [])


def test_a_signal_can_be_switched_off(start: Start) -> None:
    """`OTEL_TRACES_EXPORTER=none` keeps traces back though an endpoint is set."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_TRACES_EXPORTER": "none"})
    assert (span_exporters(made), len(metric_exporters(made))) == ([], 1)


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        ({}, None, True),
        ({}, False, False),
        ({ENDPOINT: NOWHERE}, None, False),
        ({ENDPOINT: NOWHERE}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, None, True),
        ({"OTEL_SDK_DISABLED": "true"}, True, False),
    ],
    ids=["default", "off", "with a Collector", "both", "a Collector for traces", "disabled"],
)
def test_metrics_are_served_where_nobody_else_gets_them(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    wanted: bool | None,  # noqa: FBT001 (pytest gives it by name)
    expected: bool,  # noqa: FBT001 (as above)
) -> None:
    """`/metrics` is on by default where no endpoint takes metrics; the setting goes before; disabled is disabled."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert serves_metrics(wanted) is expected


def test_metrics_text_is_prometheus_text(start: Start) -> None:
    """What was counted stands in the text, without labels of the instrumentation's scope."""
    made = start(metrics_endpoint=True)
    instruments.counter(made.meter, names.LOG_WRITTEN).add(3)
    assert made.metrics_text is not None
    body, content_type = made.metrics_text()
    assert "leeway_prediction_log_written_total 3.0" in body.decode().splitlines()
    assert content_type.startswith("text/plain")


def test_disabled_nothing_is_made(start: Start, tmp_path: Path) -> None:
    """`OTEL_SDK_DISABLED=true` gives providers that do nothing, whatever else is set."""
    made = start(
        metrics_endpoint=True, spans_file=tmp_path / "spans", **{"OTEL_SDK_DISABLED": "true", ENDPOINT: NOWHERE}
    )
    with made.tracer.start_as_current_span("work") as span:
        assert not span.get_span_context().is_valid
    assert (made.enabled, made.metrics_text, (tmp_path / "spans").exists()) == (False, None, False)


def test_spans_can_go_to_a_file(tmp_path: Path) -> None:
    """Each span becomes one line of JSON, in a folder that is made where it is missing."""
    path = tmp_path / "new" / "spans.jsonl"
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=path) as made:
        for name in ("one", "two"):
            made.tracer.start_span(name).end()
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "two"]


def test_a_spans_file_that_cannot_be_written_is_refused(start: Start, tmp_path: Path) -> None:
    """The error names the setting, the path and what to do."""
    with pytest.raises(TelemetryError, match=rf"LEEWAY_SPANS_FILE={tmp_path}: .*name a file"):
        start(spans_file=tmp_path)


def test_a_full_disk_costs_spans_only() -> None:
    """Where a span cannot be written, the export fails without an exception."""
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=Path("/dev/full")) as made:
        exporter = span_exporters(made)[0]
        made.tracer.start_span("lost").end()
        result = exporter.export([made.tracer.start_span("lost as well")])
    assert result.name == "FAILURE"


class HangingExporter(SpanExporter):
    """Never comes back from a shutdown."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def shutdown(self) -> None:
        """Hang."""
        self.released.wait(30)


def test_a_flush_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out takes no longer than its limit, whatever an exporter does."""
    monkeypatch.setattr(providers, "FLUSH_TIMEOUT_S", 0.2)
    exporter = HangingExporter()
    started_s = time.monotonic()
    with build_providers(IDENTITY, [SimpleSpanProcessor(exporter)], []):
        pass
    took_s = time.monotonic() - started_s
    exporter.released.set()
    assert took_s < 2


def test_nothing_is_global() -> None:
    """Two processes' worth of providers stand side by side without knowing each other."""
    with telemetry_in_memory() as one, telemetry_in_memory(ProcessIdentity("other", "1", "2")) as other:
        one.providers.tracer.start_span("mine").end()
        assert (len(one.spans()), len(other.spans())) == (1, 0)
