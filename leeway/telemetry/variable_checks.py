"""What each `OTEL_*` variable accepts. A check returns the value in the form that the SDK reads.

It raises `ValueError` with what is expected, or `PartlyInvalid` if only some elements of a list are invalid.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

Check: TypeAlias = Callable[[str], str]

LONGEST_MS = 2**31 - 1
"""The largest number that the specification asks for; as a timeout, it stands for no limit."""
LOG_LEVELS: Final = {
    "none": logging.CRITICAL + 1,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
OUR_PROPAGATORS: Final = ("tracecontext", "baggage", "b3", "b3multi", "none")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class PartlyInvalid(ValueError):
    """Some elements of a list are invalid; the others count."""

    def __init__(self, expected: str, valid_part: str) -> None:
        super().__init__(expected)
        self.valid_part = valid_part


def anything(value: str) -> str:
    """Any text."""
    return value


def boolean(value: str) -> str:
    """`true` or `false`; the specification reads everything else as false."""
    if value.lower() not in {"true", "false"}:
        raise ValueError("give true or false")
    return value.lower()


def integer(least: int) -> Check:
    """An integer from `least` on."""

    def check(value: str) -> str:
        if not (value.isascii() and value.isdecimal() and least <= int(value) <= LONGEST_MS):
            raise ValueError(f"give an integer from {least} to {LONGEST_MS:,}")
        return value

    return check


def limit(value: str) -> str:
    """An integer from 0 on, or the SDK's own word for no limit."""
    return value.lower() if value.lower() == "unset" else integer(0)(value)


def timeout(value: str) -> str:
    """Milliseconds; 0 means no limit, which the SDK would take as no time."""
    return str(int(integer(0)(value)) or LONGEST_MS)


def export_timeout(value: str) -> str:
    """The timeout of an OTLP export, see `environment.seconds`."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= LONGEST_MS:
        raise ValueError("give a number of milliseconds from 100 on, or of seconds below 100")
    return value


def ratio(value: str) -> str:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError("give a number from 0 to 1")
    return value


def one_of(*known: str) -> Check:
    """One of the values, in any case."""

    def check(value: str) -> str:
        if value.lower() not in known:
            raise ValueError(f"give {_either(known)}")
        return value.lower()

    return check


def some_of(*known: str) -> Check:
    """A comma-separated list; `none` stands alone."""

    def check(value: str) -> str:
        names = _elements(value.lower())
        valid = [name for name in names if name in known]
        if "none" in valid:
            return "none"
        return _list(valid, names, f"give {_either(known)}")

    return check


def propagators(value: str) -> str:
    """A comma-separated list of installed propagators."""
    names = _elements(value)
    if "none" in (name.lower() for name in names):
        return "none"
    valid = [name for name in names if name in OUR_PROPAGATORS or _is_installed("opentelemetry_propagator", name)]
    return _list(valid, names, f"give {_either(OUR_PROPAGATORS)}, or install the propagator")


def resource_detectors(value: str) -> str:
    """A comma-separated list of installed detectors."""
    names = _elements(value)
    valid = [name for name in names if name == "*" or _is_installed("opentelemetry_resource_detector", name)]
    return _list(valid, names, "install the detector")


def resource_attributes(value: str) -> str:
    """`key=value` pairs with percent-encoded values; with one that is invalid, all are invalid."""
    pairs = [pair for each in value.split(",") if (pair := each.strip())]
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not (sign and key.strip()):
            raise ValueError("give key=value pairs, separated by commas")
        try:
            _decoded(text, is_strict=True)
        except ValueError:
            raise ValueError("percent-encode the values, % as %25") from None
    return ",".join(pairs)


def headers(value: str) -> str:
    """`name=value` pairs, percent-encoded or not."""
    pairs = [pair for each in value.split(",") if (pair := each.strip())]
    valid = [encoded for pair in pairs if (encoded := _header(pair))]
    return _list(valid, pairs, "give name=value pairs, separated by commas, with percent-encoded values")


def _header(pair: str) -> str | None:
    """The pair with a percent-encoded value, or None if it is invalid."""
    name, sign, text = pair.partition("=")
    try:
        name, text = _decoded(name).strip().lower(), _decoded(text).strip()
    except ValueError:
        return None
    is_valid = sign and _TOKEN.fullmatch(name) and _HEADER_VALUE.fullmatch(text)
    return f"{name}={quote(text, safe='')}" if is_valid else None


def _decoded(text: str, *, is_strict: bool = False) -> str:
    if is_strict and _BROKEN_ESCAPE.search(text):
        raise ValueError
    return unquote_to_bytes(text).decode()


def unsupported(expected: str) -> Check:
    """No value works."""

    def check(_: str) -> str:
        raise ValueError(expected)

    return check


def _elements(value: str) -> list[str]:
    return list(dict.fromkeys(name for each in value.split(",") if (name := each.strip())))


def _list(valid: Sequence[str], given: Sequence[str], expected: str) -> str:
    if len(valid) < len(given):
        raise PartlyInvalid(expected, ",".join(valid))
    return ",".join(valid)


def _either(known: Sequence[str]) -> str:
    *some, last = known
    return f"{', '.join(some)} or {last}"


def _is_installed(group: str, name: str) -> bool:
    return bool(entry_points(group=group, name=name))


def _otlp(**checks: Check) -> Mapping[str, Check]:
    """The checks of an OTLP setting for both signals and for each."""
    return {
        f"OTEL_EXPORTER_OTLP{signal}_{name}": check
        for name, check in checks.items()
        for signal in ("", "_TRACES", "_METRICS")
    }


CHECKS: Final[Mapping[str, Check]] = {
    "OTEL_SDK_DISABLED": boolean,
    "OTEL_SERVICE_NAME": anything,
    "OTEL_RESOURCE_ATTRIBUTES": resource_attributes,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": resource_detectors,
    "OTEL_LOG_LEVEL": one_of(*LOG_LEVELS),
    "OTEL_PROPAGATORS": propagators,
    "OTEL_TRACES_SAMPLER": one_of(
        *(f"{parent}{root}" for parent in ("", "parentbased_") for root in ("always_on", "always_off", "traceidratio"))
    ),
    "OTEL_TRACES_SAMPLER_ARG": anything,
    "OTEL_BSP_SCHEDULE_DELAY": integer(1),
    "OTEL_BSP_EXPORT_TIMEOUT": timeout,
    "OTEL_BSP_MAX_QUEUE_SIZE": integer(1),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": integer(1),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": limit,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": limit,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": limit,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": limit,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": limit,
    "OTEL_SPAN_LINK_COUNT_LIMIT": limit,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": limit,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": limit,
    "OTEL_TRACES_EXPORTER": some_of("otlp", "console", "none"),
    "OTEL_METRICS_EXPORTER": some_of("otlp", "console", "prometheus", "none"),
    "OTEL_METRICS_EXEMPLAR_FILTER": one_of("trace_based", "always_on", "always_off"),
    "OTEL_METRIC_EXPORT_INTERVAL": integer(1),
    "OTEL_METRIC_EXPORT_TIMEOUT": timeout,
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": one_of("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": one_of(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    "OTEL_EXPORTER_PROMETHEUS_HOST": unsupported("metrics are served at /metrics: set LEEWAY_HOST"),
    "OTEL_EXPORTER_PROMETHEUS_PORT": unsupported("metrics are served at /metrics: set LEEWAY_PORT"),
    "OTEL_CONFIG_FILE": unsupported("Leeway reads no configuration file: set the OTEL_* variables"),
    **_otlp(
        ENDPOINT=anything,
        PROTOCOL=one_of("grpc", "http/protobuf"),
        HEADERS=headers,
        TIMEOUT=export_timeout,
        COMPRESSION=one_of("gzip", "deflate", "none"),
        CERTIFICATE=anything,
        CLIENT_CERTIFICATE=anything,
        CLIENT_KEY=anything,
        INSECURE=boolean,
    ),
}
