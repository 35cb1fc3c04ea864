"""Checks the `OTEL_*` variables: an invalid one is ignored with a warning, as the specification says.

The SDK and FastAPI read variables while they are imported, and raise on some invalid values; with others the SDK
exports nothing, or stops a start that the specification lets continue. `ignore_invalid_variables` therefore runs before
either is imported.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from leeway.telemetry.environment import (
    QUEUE_SPANS,
    SIGNALS,
    Signal,
    TelemetryError,
    disabled,
    exports,
    protocol,
    setting_of,
    variable_of,
)
from leeway.telemetry.variable_checks import CHECKS, LOG_LEVELS, PartlyInvalid, ratio

Problem: TypeAlias = tuple[str, str]
"""A variable, and what is expected of it."""

SHOWN_CHARACTERS = 80
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InvalidVariable:
    """A variable with an invalid value. If it is fatal, all telemetry of a kind would be lost."""

    name: str
    value: str
    expected: str
    is_fatal: bool = False

    def __str__(self) -> str:
        is_secret = "HEADERS" in self.name or "@" in self.value
        return f"{self.name}={'…' if is_secret else repr(self.value[:SHOWN_CHARACTERS])}: {self.expected}"


def ignore_invalid_variables() -> None:
    """Remove invalid `OTEL_*` variables from this process's environment, with a warning for each.

    Raises:
        TelemetryError: with one of them all telemetry of a kind would be lost.
    """
    valid, invalid = examine()
    if fatal := [str(each) for each in invalid if each.is_fatal]:
        raise TelemetryError("; ".join(fatal))
    for each in invalid:
        _log.warning("%s; the invalid value is ignored", each)
    for name in CHECKS:
        os.environ.pop(name, None)
    os.environ.update(valid)
    if level := valid.get("OTEL_LOG_LEVEL"):
        logging.getLogger("opentelemetry").setLevel(LOG_LEVELS[level])


def examine(environ: Mapping[str, str] = os.environ) -> tuple[dict[str, str], list[InvalidVariable]]:
    """The valid variables, in the form that the SDK reads, and the invalid ones. An empty one counts as not set."""
    valid: dict[str, str] = {}
    invalid: list[InvalidVariable] = []
    for name, check in CHECKS.items():
        if not (value := environ.get(name, "").strip()):
            continue
        try:
            valid[name] = check(value)
        except ValueError as error:
            invalid.append(InvalidVariable(name, value, str(error)))
            if isinstance(error, PartlyInvalid) and error.valid_part:
                valid[name] = error.valid_part
    for find, is_fatal in ((_invalid_combinations, False), (_lost_signals, True)):
        for name, expected in dict(find(valid)).items():
            invalid.append(InvalidVariable(name, valid.pop(name), expected, is_fatal))
    return valid, invalid


def _invalid_combinations(valid: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that are invalid because of another one."""
    argument = valid.get("OTEL_TRACES_SAMPLER_ARG")
    if argument and "traceidratio" in valid.get("OTEL_TRACES_SAMPLER", ""):
        try:
            ratio(argument)
        except ValueError as error:
            yield "OTEL_TRACES_SAMPLER_ARG", str(error)
    queue = int(valid.get("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS))
    if int(valid.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 0)) > queue:
        yield "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", f"give at most OTEL_BSP_MAX_QUEUE_SIZE, which is {queue:,}"


def _lost_signals(valid: Mapping[str, str]) -> Iterator[Problem]:
    """Variables with which no span, or no metric, could ever arrive."""
    for signal in SIGNALS:
        if disabled(valid) or not exports(signal, valid):
            continue
        endpoint = variable_of(signal, "ENDPOINT", valid)
        if endpoint and (expected := _endpoint_problem(protocol(signal, valid), valid[endpoint])):
            yield endpoint, expected
        elif _uses_tls(signal, valid):
            yield from _unusable_certificates(signal, valid)


def _endpoint_problem(chosen: str, endpoint: str) -> str | None:
    parts = urlsplit(endpoint if "://" in endpoint or chosen != "grpc" else f"//{endpoint}")
    is_http = parts.scheme in {"http", "https"}
    if chosen != "grpc" and not is_http:
        host = "localhost:4318" if "@" in endpoint else endpoint.rpartition("://")[2]
        return f"give http:// or https://, such as http://{host}"
    try:
        port = parts.port
    except ValueError:
        port = -1
    if (is_http and not parts.hostname) or port == -1:
        return "give a host and optionally a port, such as " + (
            "localhost:4317" if chosen == "grpc" else "http://localhost:4318"
        )
    return None


def _uses_tls(signal: Signal, valid: Mapping[str, str]) -> bool:
    endpoint = setting_of(signal, "ENDPOINT", valid) or "http://localhost"
    if protocol(signal, valid) != "grpc" or endpoint.startswith("https://"):
        return endpoint.startswith("https://")
    insecure = setting_of(signal, "INSECURE", valid)
    return insecure != "true" if insecure else not endpoint.startswith("http://")


def _unusable_certificates(signal: Signal, valid: Mapping[str, str]) -> Iterator[Problem]:
    trusted, own = (variable_of(signal, name, valid) for name in ("CERTIFICATE", "CLIENT_CERTIFICATE"))
    context = ssl.create_default_context()

    def load_own() -> None:
        key = setting_of(signal, "CLIENT_KEY", valid) or None
        context.load_cert_chain(valid[own or ""], key, password="")

    loads: dict[str, Callable[[], None]] = {}
    if trusted:
        loads[trusted] = lambda: context.load_verify_locations(valid[trusted])
    if own:
        loads[own] = load_own
    for name, load in loads.items():
        try:
            load()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "it cannot be read"
            yield name, f"{reason}; name a readable PEM file"
