from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from leeway.telemetry import instruments, names, providers
from leeway.telemetry.environment import EXPORT_TIMEOUT_S, TelemetryError
from leeway.telemetry.otlp_grpc import GrpcSpanExporter
from leeway.telemetry.otlp_http import HttpSpanExporter
from leeway.telemetry.providers import (
    ATTRIBUTE_CHARACTERS,
    ProcessIdentity,
    build_providers,
    providers_from_environment,
)
from tests.leeway.telemetry.made import (
    ENDPOINT,
    NOWHERE,
    Start,
    metric_exporters,
    resource_of,
    span_exporters,
    timeout_of,
)
from tests.telemetry import IDENTITY, Telemetry, attributes_of, telemetry_in_memory


def test_the_resource_identifies_the_process(telemetry: Telemetry) -> None:
    """It has name, version, namespace and instance."""
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
def test_the_environment_overrides_our_resource(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, attribute: str, expected: str
) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence."""
    monkeypatch.setenv(variable, value)
    with telemetry_in_memory() as telemetry:
        assert resource_of(telemetry.providers)[attribute] == expected


@pytest.mark.parametrize("metric", names.OUR_HISTOGRAMS, ids=lambda metric: metric.name)
def test_our_buckets_reach_the_reader(telemetry: Telemetry, metric: names.Metric) -> None:
    """Every histogram is collected with the bounds in `names`."""
    instruments.histogram(telemetry.providers.meter, metric).record(0)
    (point,) = telemetry.collect().points(metric)
    assert point.explicit_bounds == metric.buckets


@pytest.mark.parametrize("metric", names.OUR_HISTOGRAMS, ids=lambda metric: metric.name)
def test_only_declared_attributes_reach_the_reader(telemetry: Telemetry, metric: names.Metric) -> None:
    """Values from clients, such as a host, create no series."""
    instruments.histogram(telemetry.providers.meter, metric).record(0, {"server.address": "evil.example"})
    (point,) = telemetry.collect().points(metric)
    assert dict(point.attributes) == {}


def test_disabled_providers_do_nothing(start: Start, tmp_path: Path) -> None:
    """`OTEL_SDK_DISABLED=true` takes precedence over all other settings."""
    made = start(
        metrics_endpoint=True, spans_file=tmp_path / "spans", **{"OTEL_SDK_DISABLED": "true", ENDPOINT: NOWHERE}
    )
    with made.tracer.start_as_current_span("work") as span:
        assert not span.get_span_context().is_valid
    assert (made.enabled, made.metrics_text, (tmp_path / "spans").exists()) == (False, None, False)


class HangingExporter(SpanExporter):
    """Its shutdown hangs."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def shutdown(self) -> None:
        """Hang."""
        self.released.wait(30)


def test_a_hanging_flush_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit takes no longer than its limit, whatever an exporter does."""
    monkeypatch.setattr(providers, "FLUSH_TIMEOUT_S", 0.2)
    exporter = HangingExporter()
    started_s = time.monotonic()
    with build_providers(IDENTITY, [SimpleSpanProcessor(exporter)], []):
        pass
    took_s = time.monotonic() - started_s
    exporter.released.set()
    assert took_s < 2


def test_nothing_is_global() -> None:
    """Two sets of providers in one process are independent."""
    with telemetry_in_memory() as one, telemetry_in_memory(ProcessIdentity("other", "1", "2")) as other:
        one.providers.tracer.start_span("mine").end()
        assert (len(one.spans()), len(other.spans())) == (1, 0)


def test_no_endpoint_exports_nothing(start: Start) -> None:
    """Without an endpoint nothing is exported."""
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
    """The variable of a signal takes precedence over `OTEL_EXPORTER_OTLP_PROTOCOL`."""
    made = start(**{ENDPOINT: NOWHERE}, **protocol)
    assert (type(span_exporters(made)[0]), type(metric_exporters(made)[0])) == expected


@pytest.mark.parametrize("signal", ["", "_TRACES", "_METRICS"])
def test_an_unknown_protocol_is_rejected(start: Start, signal: str) -> None:
    """The error lists the supported ones."""
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
def test_a_value_that_the_sdk_cannot_read_is_rejected(start: Start, variable: str, value: str) -> None:
    """The SDK's exception becomes an error that names the value."""
    with pytest.raises(TelemetryError, match=value):
        start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", variable: value})


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_export_times_out_early(start: Start, protocol: str) -> None:
    """A hanging Collector takes two seconds per export, so that a shutdown stays short."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    exporters = [*span_exporters(made), *metric_exporters(made)]
    assert [timeout_of(exporter) for exporter in exporters] == [EXPORT_TIMEOUT_S] * 2


def test_the_environment_overrides_our_timeout(start: Start) -> None:
    """`OTEL_EXPORTER_OTLP_TIMEOUT` takes precedence over two seconds."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_TIMEOUT": "7"})
    assert timeout_of(span_exporters(made)[0]) == 7


def test_an_endpoint_for_one_signal_exports_only_that_one(start: Start) -> None:
    """With an endpoint for traces, no metrics go to a default address."""
    made = start(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{NOWHERE}/v1/traces")
    assert (len(span_exporters(made)), metric_exporters(made)) == (1, [])


def test_a_signal_can_be_turned_off(start: Start) -> None:
    """`OTEL_TRACES_EXPORTER=none` stops traces although an endpoint is set."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_TRACES_EXPORTER": "none"})
    assert (span_exporters(made), len(metric_exporters(made))) == ([], 1)


VARIABLES = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit in the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def length_kept() -> int:
    """The number of characters kept of a long text."""
    with telemetry_in_memory() as telemetry:
        telemetry.providers.tracer.start_span("work", attributes={"agent": "x" * 10_000}).end()
        (span,) = telemetry.spans()
    return len(attributes_of(span)["agent"])


def test_a_long_attribute_is_truncated() -> None:
    """This bounds the memory of values from clients."""
    assert length_kept() == ATTRIBUTE_CHARACTERS


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_environments_length_overrides_ours(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The SDK's variables take precedence."""
    monkeypatch.setenv(variable, "5000")
    assert length_kept() == 5_000


def test_an_empty_variable_sets_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as not set, like every other variable."""
    monkeypatch.setenv(VARIABLES[0], "")
    assert length_kept() == ATTRIBUTE_CHARACTERS


def test_an_invalid_length_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process does not start, instead of having no limit."""
    monkeypatch.setenv(VARIABLES[1], "long")
    with (
        pytest.raises(TelemetryError, match=VARIABLES[1]),
        providers_from_environment(IDENTITY, metrics_endpoint=False),
    ):
        pass


def test_a_traceback_is_not_truncated() -> None:
    """The limit does not apply to events."""
    with telemetry_in_memory() as telemetry:
        span = telemetry.providers.tracer.start_span("work")
        span.add_event("exception", {"exception.stacktrace": "x" * 10_000})
        span.end()
        (told,) = telemetry.spans()
    assert len(str((told.events[0].attributes or {})["exception.stacktrace"])) == 10_000
