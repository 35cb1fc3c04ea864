"""What the service, Prometheus and Jaeger answer, as far as the doctor reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from leeway.schema import Feature, FeatureSchema
from tests.cli.stub_server import JsonReply

READY = {"status": "ok", "checks": {"bundle": "ok", "spool": "ok", "database": "ok", "drainer": "ok"}}
PREDICTED: dict[str, Any] = {
    "prediction_id": "01a20877-0000-7000-8000-000000000001",
    "trace_id": "a" * 32,
    "recorded": True,
}
SCHEMA = FeatureSchema((Feature("age", "integer"),))


def a_service(**changes: JsonReply) -> dict[str, JsonReply]:
    """The answers of a service; `changes` replace answers by the last part of their path."""
    replies: dict[str, JsonReply] = {
        "/health/ready": (200, READY),
        "/model": (200, {"name": "churn", "version": "v1", **msgspec.to_builtins(SCHEMA)}),
        "/openapi.json": (200, openapi()),
        "/predict": (200, PREDICTED),
    }
    return {path: changes.get(path.rpartition("/")[2].partition(".")[0], reply) for path, reply in replies.items()}


def openapi(*, accepts_synthetic: bool = True) -> dict[str, Any]:
    """The service's OpenAPI document."""
    parameters = [{"name": "leeway-synthetic", "in": "header"}] if accepts_synthetic else []
    content = {"application/json": {"examples": {"typical": {"value": {"features": {"age": 40}}}}}}
    return {"paths": {"/predict": {"post": {"parameters": parameters, "requestBody": {"content": content}}}}}


def vector(*series: tuple[Mapping[str, str], float]) -> dict[str, Any]:
    """Prometheus' answer to an instant query."""
    result = [{"metric": labels, "value": [1_795_437_626.1, str(value)]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def trace(spans: int, service: str = "leeway-service", **more: str) -> dict[str, Any]:
    """Jaeger's answer for a trace; `more` are resource attributes of its service."""
    resource = {"service.name": service, "service.version": "0.1.0"}
    resource |= {f"service.{name.replace('_', '.')}": value for name, value in more.items()}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in resource.items()]
    scope = {"spans": [{"name": "POST /predict"}] * spans}
    return {"result": {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [scope]}]}}
