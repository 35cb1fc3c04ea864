"""Reads the `OTEL_*` variables that the SDK does not read for us, without importing the SDK.

Only this module reads endpoint, protocol and timeout of OTLP. The SDK reads all others, such as the sampler.
"""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

EXPORT_TIMEOUT_S = 2.0
EXPORT_INTERVAL_S = 60.0
"""The SDK's own default."""

Signal: TypeAlias = Literal["TRACES", "METRICS"]


class TelemetryError(ValueError):
    """An `OTEL_*` variable or a telemetry setting is invalid; the message says what is expected."""


def disabled() -> bool:
    """Whether `OTEL_SDK_DISABLED` is set."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exports(signal: Signal) -> bool:
    """Whether an OTLP endpoint is set for `signal` and its export is not turned off (`OTEL_…_EXPORTER=none`)."""
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    switched_off = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none"
    return not switched_off and any(os.environ.get(name) for name in variables)


def serves_metrics(wanted: bool | None) -> bool:  # noqa: FBT001 (a setting with three states, handed on)
    """Whether the process serves `/metrics`: as `wanted`, or by default if no OTLP endpoint is set."""
    return not disabled() and (not exports("METRICS") if wanted is None else wanted)


def instance_is_given() -> bool:
    """Whether `OTEL_RESOURCE_ATTRIBUTES` sets the instance id, which several processes must not share."""
    pairs = [each.partition("=") for each in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")]
    return not disabled() and any(sign and key.strip() == "service.instance.id" for key, sign, _ in pairs)


def sets_batch_size() -> bool:
    """Whether the batch size of spans is set, so that the SDK reads it."""
    return bool(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"))


def export_interval_s() -> float:
    """Seconds between two exports of metrics; an invalid number counts as not set, as in the SDK."""
    try:
        return float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1_000
    except ValueError:
        return EXPORT_INTERVAL_S


def protocol(signal: Signal) -> str:
    """The OTLP protocol: `grpc` or `http/protobuf`.

    Raises:
        TelemetryError: another protocol is set.
    """
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    wanted = next((os.environ[name] for name in variables if os.environ.get(name)), "http/protobuf")
    if wanted not in {"grpc", "http/protobuf"}:
        raise TelemetryError(f"OTEL_EXPORTER_OTLP_PROTOCOL={wanted!r}: use grpc or http/protobuf")
    return wanted


def timeout_s(signal: Signal) -> float:
    """The timeout of one export: two seconds by default.

    Raises:
        TelemetryError: the variable is not a number.
    """
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"):
        if value := os.environ.get(name):
            try:
                return float(value)
            except ValueError as error:
                raise TelemetryError(f"{name}={value!r}: use a number of seconds") from error
    return EXPORT_TIMEOUT_S
