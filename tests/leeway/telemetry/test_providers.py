from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from leeway.telemetry import instruments, names, providers
from leeway.telemetry.environment import EXPORT_TIMEOUT_S, LONGEST_S
from leeway.telemetry.otlp_grpc import GrpcSpanExporter
from leeway.telemetry.otlp_http import HttpSpanExporter
from leeway.telemetry.providers import (
    ATTRIBUTE_CHARACTERS,
    ProcessIdentity,
    build_providers,
)
from tests.leeway.telemetry.made import (
    ENDPOINT,
    NOWHERE,
    Start,
    collect,
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


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_export_times_out_early(start: Start, protocol: str) -> None:
    """A hanging Collector takes two seconds per export, so that a shutdown stays short."""
    made = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    exporters = [*span_exporters(made), *metric_exporters(made)]
    assert [timeout_of(exporter) for exporter in exporters] == [EXPORT_TIMEOUT_S] * 2


@pytest.mark.parametrize(
    ("value", "expected_s"), [("7", 7), ("0.5", 0.5), ("10000", 10), ("500", 0.5), ("0", LONGEST_S)]
)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_environment_overrides_our_timeout(start: Start, protocol: str, value: str, expected_s: float) -> None:
    """In the specification's milliseconds, and up to 100 in Python's seconds; 0 means no limit."""
    made = start(
        **{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": value}
    )
    assert timeout_of(span_exporters(made)[0]) == expected_s


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({ENDPOINT: "http://c:4318"}, ["http://c:4318/v1/traces", "http://c:4318/v1/metrics"]),
        ({ENDPOINT: "http://c/base/"}, ["http://c/base/v1/traces", "http://c/base/v1/metrics"]),
        (
            {ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/t"},
            ["http://d/t", "http://c/v1/metrics"],
        ),
        ({ENDPOINT: "c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["c:4317", "c:4317"]),
        ({ENDPOINT: "https://c:4317/path", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["c:4317", "c:4317"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["http://localhost:4318/v1/traces"]),
    ],
    ids=["base", "path and slash", "of a signal", "without scheme", "gRPC ignores a path", "the default"],
)
def test_endpoints(start: Start, endpoint: dict[str, str], expected: list[str]) -> None:
    """As the specification says; only an exporter that is asked for sends to the default address."""
    made = start(**endpoint)
    assert [each._endpoint for each in (*span_exporters(made), *metric_exporters(made))] == expected


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
def test_compression(start: Start, protocol: str, compression: str) -> None:
    """Both protocols take each; the SDK's exporter for gRPC raises on some."""
    made = start(
        **{
            ENDPOINT: NOWHERE,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        }
    )
    used = [each._compression.name.lower() for each in (*span_exporters(made), *metric_exporters(made))]
    assert used == [compression.replace("none", "nocompression") if protocol == "grpc" else compression] * 2


def test_headers_reach_the_exporters(start: Start) -> None:
    """Percent-encoded, those of a signal before the common ones."""
    made = start(
        **{
            ENDPOINT: NOWHERE,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "api-key=c",
        }
    )
    exporters = (*span_exporters(made), *metric_exporters(made))
    assert [each._client._headers["api-key"] for each in exporters] == ["a b", "c"]


@pytest.mark.parametrize(
    ("sampler", "argument", "description"),
    [
        ("always_off", "", "AlwaysOffSampler"),
        ("parentbased_always_off", "", "ParentBased{root:AlwaysOffSampler"),
        ("traceidratio", "0.25", "TraceIdRatioBased{0.25}"),
        ("parentbased_traceidratio", "", "ParentBased{root:TraceIdRatioBased{1.0}"),
    ],
)
def test_samplers(start: Start, sampler: str, argument: str, description: str) -> None:
    """The SDK reads them."""
    made: Any = start(OTEL_TRACES_SAMPLER=sampler, **({"OTEL_TRACES_SAMPLER_ARG": argument} if argument else {}))
    assert made.tracer_provider.sampler.get_description().startswith(description)


def test_a_small_queue_makes_smaller_batches(start: Start) -> None:
    """Our batch size gives way to `OTEL_BSP_MAX_QUEUE_SIZE`, instead of stopping the start."""
    made: Any = start(**{ENDPOINT: NOWHERE, "OTEL_BSP_MAX_QUEUE_SIZE": "64"})
    *_, processor = made.tracer_provider._active_span_processor._span_processors
    assert processor._batch_processor._max_export_batch_size == 64


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_the_console_gets_lines_of_json(start: Start, variable: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each span or collection, like the log."""
    made: Any = start(**{variable: "console"})
    made.tracer.start_span("work").end()
    instruments.counter(made.meter, names.LOG_WRITTEN).add(1)
    collect(made)
    (line,) = capsys.readouterr().out.splitlines()
    assert ("work" if "TRACES" in variable else names.LOG_WRITTEN.name) in json.dumps(json.loads(line))


@pytest.mark.parametrize("preference", ["cumulative", "delta", "lowmemory"])
def test_our_histograms_follow_the_temporality(start: Start, preference: str) -> None:
    """Delta points start again at each collection."""
    made: Any = start(**{ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference})
    (exporter,) = metric_exporters(made)
    sent: list[Any] = []
    exporter.export = lambda data, **_: sent.append(data)
    duration = instruments.histogram(made.meter, names.INFERENCE_DURATION)
    for _ in range(2):
        duration.record(0.001)
        collect(made)
    counts = [
        point.count
        for data in sent
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == names.INFERENCE_DURATION.name
        for point in metric.data.data_points
    ]
    assert counts == ([1, 2] if preference == "cumulative" else [1, 1])


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


def test_a_traceback_is_not_truncated() -> None:
    """The limit does not apply to events."""
    with telemetry_in_memory() as telemetry:
        span = telemetry.providers.tracer.start_span("work")
        span.add_event("exception", {"exception.stacktrace": "x" * 10_000})
        span.end()
        (told,) = telemetry.spans()
    assert len(str((told.events[0].attributes or {})["exception.stacktrace"])) == 10_000
