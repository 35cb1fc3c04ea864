from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

from leeway.telemetry.environment import EXPORT_TIMEOUT_S, TelemetryError
from leeway.telemetry.otlp_grpc import GrpcSpanExporter
from leeway.telemetry.otlp_http import HttpSpanExporter
from tests.leeway.telemetry.providers.made import ENDPOINT, NOWHERE, Start, metric_exporters, span_exporters, timeout_of


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
