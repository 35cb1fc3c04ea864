from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.cli.doctor.backends import Reply, backend, trace, vector
from tests.cli.doctor.place import Place, a_place
from tests.service.processes import Sink, otlp_sink

INSTANCE = "the-only-one"


def as_jaeger(sink: Sink, path: str) -> tuple[int, object]:
    """What Jaeger would say, had it the spans of `sink`."""
    spans = [span for span in sink.spans() if span.trace_id.hex() == path.rpartition("/")[2]]
    return (200, trace(len(spans), namespace="leeway", instance_id=INSTANCE)) if spans else (404, {})


def as_prometheus(sink: Sink, path: str) -> tuple[int, object]:
    """What Prometheus would say, had it the newest metrics of `sink`."""
    if "query=up" in path:
        return 200, vector(({"job": "applications"}, 1))
    if "query=target_info" in path:
        return 200, vector(({"job": "otel-collector", "service.version": "0.161.0"}, 1))
    exported = sink.metrics(names.HTTP_REQUEST_DURATION.name)
    points = exported[-1].histogram.data_points if exported else []
    routes = [(point.count, {each.key: each.value.string_value for each in point.attributes}) for point in points]
    who = {"job": "leeway/leeway-service", "instance": INSTANCE}
    return 200, vector((who, sum(count for count, told in routes if told[names.HTTP_ROUTE] == "/predict")))


@contextmanager
def a_stack(bundle: Bundle, folder: Path) -> Iterator[tuple[Place, dict[str, str]]]:
    """A real service that exports, and loopback servers that answer for what came; with the settings that name them."""
    with ExitStack() as stack:
        sink, otlp = stack.enter_context(otlp_sink())
        exports = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={INSTANCE}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        made = stack.enter_context(a_place(bundle, folder, **exports))
        traces: dict[str, Reply] = {"/": (200, "<html>"), "/api/v3/traces/*": lambda path: as_jaeger(sink, path)}
        jaeger = stack.enter_context(backend(traces))
        prometheus = stack.enter_context(
            backend(
                {
                    "/api/v1/status/buildinfo": (200, {"data": {"version": "3.16.0"}}),
                    "/api/v1/query": lambda path: as_prometheus(sink, path),
                }
            )
        )
        others = stack.enter_context(
            backend({"/": (200, {"status": "Server available"}), "/api/health": (200, {"version": "13.1.0"})})
        )
        yield (
            made,
            {
                "LEEWAY_JAEGER_URL": jaeger.url,
                "LEEWAY_PROMETHEUS_URL": prometheus.url,
                "LEEWAY_COLLECTOR_URL": others.url,
                "LEEWAY_GRAFANA_URL": others.url,
            },
        )


def test_every_signal_is_followed_to_its_backend(bundle: Bundle, tmp_path: Path) -> None:
    """With a Collector, Jaeger and Prometheus each of the prediction's signals is found there."""
    with a_stack(bundle, tmp_path / "stack") as (place, named):
        ran = place.doctor("--json", **named)
    found = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
    assert {each["state"] for check, each in found.items() if not check.startswith("drift")} == {"ok"}
    assert ran.returncode == 0
    assert "came to Jaeger" in found["trace"]["found"]
    assert f"instance {INSTANCE}, in Prometheus rose by 1" in found["metric"]["found"]
    assert (found["collector"]["version"], found["grafana"]["version"]) == ("0.161.0", "13.1.0")
