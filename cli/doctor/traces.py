"""Looks for a trace where it should arrive: in Jaeger, or where there is none in the spans file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.doctor.asking import NOT_FOUND, Deadline, EndpointError, ask
from cli.doctor.finding import Finding
from cli.doctor.service import Sent
from leeway.settings import DoctorSettings

_CHECK = "trace"
_SERVICE = "leeway-service"
_ON_ITS_WAY = (
    "read docker compose logs otel-collector; or the trace was not sampled (OTEL_TRACES_SAMPLER of the service,"
    " LEEWAY_SAMPLING)"
)
_TO_THE_FILE = "set LEEWAY_SPANS_FILE to the file that the service writes, for both"


@dataclass(frozen=True)
class Origin:
    """The process that answered, as its trace names it and as Prometheus calls it where metrics come by OTLP."""

    job: str
    instance: str


def arrival(
    settings: DoctorSettings, sent: Sent, spans_before: int, timeout_s: float, patience: Deadline
) -> tuple[Finding, Origin | None]:
    """Whether the prediction's trace arrives, and who made it.

    `spans_before` is the spans file's length before the prediction was asked for.
    """
    if settings.jaeger_url is None and settings.spans_file is None:
        return Finding(_CHECK, "skipped", "not looked for: set LEEWAY_JAEGER_URL, or LEEWAY_SPANS_FILE"), None
    if sent.trace_id is None:
        found = "the answer names no trace: the service has its telemetry off"
        return Finding(_CHECK, "failed", found, "start the service without OTEL_SDK_DISABLED"), None
    if settings.jaeger_url is not None:
        return _in_jaeger(settings.jaeger_url, sent.trace_id, timeout_s, patience)
    assert settings.spans_file is not None  # noqa: S101 (one of the two is set, see above)
    return _in_file(settings.spans_file, spans_before, sent.trace_id, patience)


def length(spans_file: Path | None) -> int:
    """How long the file is, bytes; 0 where there is none (yet)."""
    try:
        return 0 if spans_file is None else spans_file.stat().st_size
    except OSError:
        return 0


def _origin(told: Mapping[str, Any]) -> Origin | None:
    """See https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#resource-attributes-1."""
    name, namespace, instance = (told.get(f"service.{each}") for each in ("name", "namespace", "instance.id"))
    return Origin(f"{namespace}/{name}" if namespace else str(name), str(instance)) if name and instance else None


def _in_jaeger(url: str, trace_id: str, timeout_s: float, patience: Deadline) -> tuple[Finding, Origin | None]:
    try:
        found = patience.wait_for(lambda: _spans(url, trace_id, timeout_s))
    except (EndpointError, KeyError, TypeError) as error:
        return Finding(_CHECK, "failed", f"Jaeger {error}", "see to jaeger first"), None
    if found is None:
        return Finding(_CHECK, "failed", f"Jaeger has no {trace_id} after {patience.wait_s:g} s", _ON_ITS_WAY), None
    spans, told = found
    text = f"{trace_id} came to Jaeger in {patience.waited_s:.1f} s, {spans} spans"
    return Finding(_CHECK, "ok", text, version=told.get("service.version")), _origin(told)


def _spans(url: str, trace_id: str, timeout_s: float) -> tuple[int, Mapping[str, Any]] | None:
    """How many of our service's spans Jaeger has of this trace, and what it tells of itself; None where it has none."""
    answer = ask(url, f"/api/v3/traces/{trace_id}", timeout_s)
    if answer.status == NOT_FOUND:
        return None
    count: int = 0
    ours: Mapping[str, Any] = {}
    for resource in answer.document()["result"]["resourceSpans"]:
        told = {each["key"]: each["value"].get("stringValue") for each in resource["resource"].get("attributes", [])}
        if told.get("service.name") == _SERVICE:
            count += sum(len(scope["spans"]) for scope in resource["scopeSpans"])
            ours = told
    return (count, ours) if count else None


def _in_file(path: Path, before: int, trace_id: str, patience: Deadline) -> tuple[Finding, Origin | None]:
    def look() -> list[dict[str, Any]] | None:
        return [span for span in _lines(path, before) if span["context"]["trace_id"] == f"0x{trace_id}"] or None

    try:
        spans = patience.wait_for(look)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(_CHECK, "failed", f"{path} cannot be read as spans ({error})", _TO_THE_FILE), None
    if spans is None:
        return Finding(_CHECK, "failed", f"{path} has no {trace_id} after {patience.wait_s:g} s", _TO_THE_FILE), None
    told = spans[0].get("resource", {}).get("attributes", {})
    found = f"{trace_id} came to {path} in {patience.waited_s:.1f} s, {len(spans)} spans"
    return Finding(_CHECK, "ok", found, version=told.get("service.version")), _origin(told)


def _lines(path: Path, before: int) -> Iterator[dict[str, Any]]:
    """The spans that were written since; the last line may still be half written."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(before)
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
