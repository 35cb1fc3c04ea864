from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from leeway.telemetry import instruments, names, providers
from leeway.telemetry.providers import ProcessIdentity, build_providers
from tests.leeway.telemetry.providers.made import ENDPOINT, NOWHERE, Start, resource_of
from tests.telemetry import IDENTITY, Telemetry, telemetry_in_memory


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


def test_disabled_nothing_is_made(start: Start, tmp_path: Path) -> None:
    """`OTEL_SDK_DISABLED=true` gives providers that do nothing, whatever else is set."""
    made = start(
        metrics_endpoint=True, spans_file=tmp_path / "spans", **{"OTEL_SDK_DISABLED": "true", ENDPOINT: NOWHERE}
    )
    with made.tracer.start_as_current_span("work") as span:
        assert not span.get_span_context().is_valid
    assert (made.enabled, made.metrics_text, (tmp_path / "spans").exists()) == (False, None, False)


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
