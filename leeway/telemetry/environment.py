"""What the `OTEL_*` variables that we read ourselves say. The SDK is not needed for that, and is not imported here.

Endpoint, protocol and timeout of OTLP are read here alone. Everything else of `OTEL_*` (sampler, batch sizes, the
attributes of the resource) is read by the SDK as it documents.
"""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

EXPORT_TIMEOUT_S = 2.0
EXPORT_INTERVAL_S = 60.0
"""The SDK's own default."""

Signal: TypeAlias = Literal["TRACES", "METRICS"]


class TelemetryError(ValueError):
    """An `OTEL_*` variable or a telemetry setting cannot be used; the message says what would do."""


def disabled() -> bool:
    """Whether `OTEL_SDK_DISABLED` is set."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exports(signal: Signal) -> bool:
    """Whether an OTLP endpoint is set for `signal`, and it is not switched off (`OTEL_…_EXPORTER=none`)."""
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    switched_off = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none"
    return not switched_off and any(os.environ.get(name) for name in variables)


def serves_metrics(wanted: bool | None) -> bool:  # noqa: FBT001 (a setting with three states, handed on)
    """Whether the process serves `/metrics` itself: as told, or by default where no OTLP endpoint is set."""
    return not disabled() and (not exports("METRICS") if wanted is None else wanted)


def instance_is_given() -> bool:
    """Whether `OTEL_RESOURCE_ATTRIBUTES` names the instance, so that every process would bear the same name."""
    pairs = [each.partition("=") for each in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")]
    return not disabled() and any(sign and key.strip() == "service.instance.id" for key, sign, _ in pairs)


def sets_batch_size() -> bool:
    """Whether the size of a batch of spans is set; then the SDK reads it."""
    return bool(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"))


def export_interval_s() -> float:
    """Seconds from one export of metrics to the next; what is no number counts as not set, as it does to the SDK."""
    try:
        return float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1_000
    except ValueError:
        return EXPORT_INTERVAL_S


def protocol(signal: Signal) -> str:
    """How to export: `grpc` or `http/protobuf`.

    Raises:
        TelemetryError: some other way is asked for.
    """
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    wanted = next((os.environ[name] for name in variables if os.environ.get(name)), "http/protobuf")
    if wanted not in {"grpc", "http/protobuf"}:
        raise TelemetryError(f"OTEL_EXPORTER_OTLP_PROTOCOL={wanted!r}: use grpc or http/protobuf")
    return wanted


def timeout_s(signal: Signal) -> float:
    """How long one export may take: two seconds, unless the environment says otherwise.

    Raises:
        TelemetryError: it says no number.
    """
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"):
        if value := os.environ.get(name):
            try:
                return float(value)
            except ValueError as error:
                raise TelemetryError(f"{name}={value!r}: give a number of seconds") from error
    return EXPORT_TIMEOUT_S
