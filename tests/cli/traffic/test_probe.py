from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from cli.http import ServiceAddress
from cli.traffic.probe import TrafficProbe, probe_from_environment
from leeway.telemetry import names
from tests.telemetry import Telemetry, attributes_of, span_id, telemetry_in_memory, trace_id

TARGET = ServiceAddress("http", "example.org", 8000, "/leeway")


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry in memory."""
    with telemetry_in_memory() as made:
        yield made


@pytest.fixture
def probe(telemetry: Telemetry) -> TrafficProbe:
    """A probe that uses it."""
    return TrafficProbe(TARGET, telemetry.providers.tracer)


def test_a_request_is_a_client_span(telemetry: Telemetry, probe: TrafficProbe) -> None:
    """A request is one CLIENT span, with the attributes of the semantic conventions and what kind of traffic it is."""
    probe.sends("/predict", "features", 0.4).answered(200)
    (span,) = telemetry.spans()
    assert (span.name, span.kind, span.parent) == ("POST /predict", SpanKind.CLIENT, None)
    assert attributes_of(span) == {
        names.HTTP_METHOD: "POST",
        names.SERVER_ADDRESS: "example.org",
        names.SERVER_PORT: 8000,
        names.URL_FULL: "http://example.org:8000/leeway/predict",
        names.URL_TEMPLATE: "/predict",
        names.TRAFFIC_KIND: "features",
        names.TRAFFIC_DRIFT: 0.4,
        names.HTTP_STATUS: 200,
    }


def test_requests_carry_the_trace_context(telemetry: Telemetry, probe: TrafficProbe) -> None:
    """The request carries the span's ids, so that the service's spans are its children."""
    sent = probe.sends("/predict", "features", 0.0)
    sent.answered(200)
    (span,) = telemetry.spans()
    assert list(sent.headers) == ["traceparent"]
    assert sent.headers["traceparent"].startswith(f"00-{trace_id(span)}-{span_id(span)}-")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(200, StatusCode.UNSET, None), (422, StatusCode.ERROR, "422"), (503, StatusCode.ERROR, "503")],
)
def test_an_error_answer_is_an_error(
    telemetry: Telemetry, probe: TrafficProbe, status: int, code: StatusCode, error: str | None
) -> None:
    """For a client every status from 400 on is an error, with the status as its type."""
    probe.sends("/predict", "bad", 0.0).answered(status)
    (span,) = telemetry.spans()
    assert (span.status.status_code, attributes_of(span).get(names.ERROR_TYPE)) == (code, error)


def test_no_answer_is_an_error(telemetry: Telemetry, probe: TrafficProbe) -> None:
    """Without an answer, the error type is that of the exception, and there is no status."""
    probe.sends("/predict", "features", 0.0).failed(ConnectionRefusedError())
    (span,) = telemetry.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)[names.ERROR_TYPE] == "ConnectionRefusedError"
    assert names.HTTP_STATUS not in attributes_of(span)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["no endpoint", "metrics only", "disabled", "switched off"],
)
def test_without_a_collector_there_is_no_traceparent(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """If spans are not exported, requests carry no trace context."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with probe_from_environment(TARGET) as found:
        assert found.sends("/predict", "features", 0.0).headers == {}
