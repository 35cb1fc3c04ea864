"""Looks for the prediction's trace: in Jaeger, or without Jaeger in the spans file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cli.doctor.check import CheckResult, Deadline
from cli.doctor.service import SyntheticPrediction
from cli.http import NOT_FOUND, EndpointError, ask
from leeway.settings import DoctorSettings

_CHECK = "trace"
_SERVICE = "leeway-service"
_LOST = (
    "read docker compose logs otel-collector; or the trace was not sampled (OTEL_TRACES_SAMPLER of the service,"
    " LEEWAY_SAMPLING)"
)
_SAME_FILE = "set LEEWAY_SPANS_FILE to the file that the service writes, for both"


@dataclass(frozen=True)
class TraceOrigin:
    """The process that answered, as its trace names it; OTLP metrics in Prometheus have the same job and instance."""

    job: str
    instance: str


def arrival(
    settings: DoctorSettings, prediction: SyntheticPrediction, spans_before: int, timeout_s: float, deadline: Deadline
) -> tuple[CheckResult, TraceOrigin | None]:
    """Whether the prediction's trace arrives, and which process made it.

    `spans_before` is the spans file's length before the prediction was requested.
    """
    if settings.jaeger_url is None and settings.spans_file is None:
        return CheckResult(_CHECK, "skipped", "not checked: set LEEWAY_JAEGER_URL or LEEWAY_SPANS_FILE"), None
    if prediction.trace_id is None:
        found = "the answer has no trace id: the service's telemetry is off"
        return CheckResult(_CHECK, "failed", found, "start the service without OTEL_SDK_DISABLED"), None
    if settings.jaeger_url is not None:
        return _in_jaeger(settings.jaeger_url, prediction.trace_id, timeout_s, deadline)
    assert settings.spans_file is not None  # noqa: S101 (one of the two is set, see above)
    return _in_file(settings.spans_file, spans_before, prediction.trace_id, deadline)


def length(spans_file: Path | None) -> int:
    """The file's length in bytes; 0 if it does not exist (yet)."""
    try:
        return 0 if spans_file is None else spans_file.stat().st_size
    except OSError:
        return 0


def _origin(resource: Mapping[str, Any]) -> TraceOrigin | None:
    """See https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#resource-attributes-1."""
    name, namespace, instance = (resource.get(f"service.{each}") for each in ("name", "namespace", "instance.id"))
    return TraceOrigin(f"{namespace}/{name}" if namespace else str(name), str(instance)) if name and instance else None


def _in_jaeger(url: str, trace_id: str, timeout_s: float, deadline: Deadline) -> tuple[CheckResult, TraceOrigin | None]:
    try:
        found = deadline.wait_for(lambda: _spans(url, trace_id, timeout_s))
    except (EndpointError, KeyError, TypeError) as error:
        return CheckResult(_CHECK, "failed", f"Jaeger {error}", "fix jaeger first"), None
    if found is None:
        return CheckResult(_CHECK, "failed", f"Jaeger has no {trace_id} after {deadline.wait_s:g} s", _LOST), None
    return _arrived(trace_id, "in Jaeger", deadline, *found)


def _arrived(
    trace_id: str, where: str, deadline: Deadline, spans: int, resource: Mapping[str, Any]
) -> tuple[CheckResult, TraceOrigin | None]:
    text = f"{trace_id} arrived {where} within {deadline.waited_s:.1f} s, {spans} spans"
    return CheckResult(_CHECK, "ok", text, version=resource.get("service.version")), _origin(resource)


def _spans(url: str, trace_id: str, timeout_s: float) -> tuple[int, Mapping[str, Any]] | None:
    """How many of the service's spans Jaeger has of this trace, and their resource attributes; None without any."""
    answer = ask(url, f"/api/v3/traces/{trace_id}", timeout_s)
    if answer.status == NOT_FOUND:
        return None
    count: int = 0
    ours: Mapping[str, Any] = {}
    for each in answer.document()["result"]["resourceSpans"]:
        resource = {pair["key"]: pair["value"].get("stringValue") for pair in each["resource"].get("attributes", [])}
        if resource.get("service.name") == _SERVICE:
            count += sum(len(scope["spans"]) for scope in each["scopeSpans"])
            ours = resource
    return (count, ours) if count else None


def _in_file(path: Path, before: int, trace_id: str, deadline: Deadline) -> tuple[CheckResult, TraceOrigin | None]:
    def look() -> list[dict[str, Any]] | None:
        return [span for span in _lines(path, before) if span["context"]["trace_id"] == f"0x{trace_id}"] or None

    try:
        spans = deadline.wait_for(look)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return CheckResult(_CHECK, "failed", f"{path} is not a spans file ({error})", _SAME_FILE), None
    if spans is None:
        return CheckResult(_CHECK, "failed", f"{path} has no {trace_id} after {deadline.wait_s:g} s", _SAME_FILE), None
    return _arrived(trace_id, f"in {path}", deadline, len(spans), spans[0].get("resource", {}).get("attributes", {}))


def _lines(path: Path, before: int) -> Iterator[dict[str, Any]]:
    """The spans written since; an incomplete last line is skipped."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(before)
        for line in file:
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line)
