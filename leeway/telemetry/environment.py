"""Reads the `OTEL_*` variables that the SDK does not read for us, without importing the SDK.

Only this module reads endpoint, protocol, timeout and exporter. The SDK reads all others, such as the sampler.
`leeway.telemetry.variables` removes invalid values first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

EXPORT_TIMEOUT_S = 2.0
EXPORT_INTERVAL_S = 60.0
"""The SDK's own default."""
LONGEST_S = 3_600.0
"""What a timeout of 0 means: the specification allows a very long one."""
FIRST_MILLISECONDS = 100
"""A timeout of at least this is in milliseconds, a smaller one in seconds."""
QUEUE_SPANS = 2_048
"""The SDK's own default."""

Signal: TypeAlias = Literal["TRACES", "METRICS"]
SIGNALS: Final[tuple[Signal, ...]] = ("TRACES", "METRICS")


class TelemetryError(ValueError):
    """An `OTEL_*` variable or a telemetry setting would lose all traces or all metrics; the message says why."""


def variable_of(signal: Signal, name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The variable of an OTLP setting, such as `ENDPOINT`, that applies to `signal`; None if neither is set."""
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}")
    return next((each for each in variables if environ.get(each, "").strip()), None)


def setting_of(signal: Signal, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The value of an OTLP setting for `signal`; empty if it is not set."""
    variable = variable_of(signal, name, environ)
    return environ[variable].strip() if variable else ""


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `OTEL_SDK_DISABLED` is set."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporters(signal: Signal, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The exporters of `signal`: `otlp`, `console`, and for metrics `prometheus`.

    If `OTEL_…_EXPORTER` is not set, it is `otlp` if an endpoint is set, else none: the specification would send to
    localhost by default.
    """
    chosen = environ.get(f"OTEL_{signal}_EXPORTER", "").lower()
    if not chosen.strip():
        return ("otlp",) if variable_of(signal, "ENDPOINT", environ) else ()
    return tuple(dict.fromkeys(name for each in chosen.split(",") if (name := each.strip()) and name != "none"))


def exports(signal: Signal, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `signal` is exported by OTLP."""
    return "otlp" in exporters(signal, environ)


def serves_metrics(wanted: bool | None) -> bool:  # noqa: FBT001 (a setting with three states, handed on)
    """Whether the process serves `/metrics`: as `wanted`, or by default if metrics are not exported otherwise."""
    if disabled():
        return False
    chosen = exporters("METRICS")
    by_default = "prometheus" in chosen or not (chosen or os.environ.get("OTEL_METRICS_EXPORTER"))
    return by_default if wanted is None else wanted


def instance_is_given() -> bool:
    """Whether `OTEL_RESOURCE_ATTRIBUTES` sets the instance id, which several processes must not share."""
    pairs = [each.partition("=") for each in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")]
    return not disabled() and any(sign and key.strip() == "service.instance.id" for key, sign, _ in pairs)


def batch_spans(default: int) -> int | None:
    """The number of spans in one export: `default`, or the queue's if it is smaller; None if the SDK reads it."""
    if os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        return None
    return min(default, int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or QUEUE_SPANS))


def batch_setting(name: str, default: int) -> int:
    """A setting of batches of spans, such as `SCHEDULE_DELAY`, or `default` if it is not set."""
    return int(os.environ.get(f"OTEL_BSP_{name}") or default)


def limits_spans() -> bool:
    """Whether a limit for the attributes of spans is set, so that the SDK must apply it."""
    kinds = ("SPAN_ATTRIBUTE", "ATTRIBUTE")
    names = [f"OTEL_{kind}_{limit}_LIMIT" for kind in kinds for limit in ("COUNT", "VALUE_LENGTH")]
    return any(os.environ.get(name) for name in names)


def export_interval_s() -> float:
    """Seconds between two exports of metrics; an invalid number counts as not set, as in the SDK."""
    try:
        return float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1_000
    except ValueError:
        return EXPORT_INTERVAL_S


def protocol(signal: Signal, environ: Mapping[str, str] = os.environ) -> str:
    """The OTLP protocol: `grpc` or `http/protobuf`."""
    return setting_of(signal, "PROTOCOL", environ) or "http/protobuf"


def timeout_s(signal: Signal) -> float:
    """The timeout of one export in seconds: two by default."""
    value = setting_of(signal, "TIMEOUT")
    return seconds(float(value)) if value else EXPORT_TIMEOUT_S


def seconds(timeout: float) -> float:
    """The timeout of an export in seconds.

    The specification counts milliseconds, the SDK's documentation for Python seconds: a number from 100 on is taken
    as milliseconds, a smaller one as seconds. Zero means no limit.
    """
    if timeout == 0:
        return LONGEST_S
    return timeout / 1_000 if timeout >= FIRST_MILLISECONDS else timeout
