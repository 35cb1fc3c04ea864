"""`docs/reference/settings.md`: each variable, from the settings classes, the commands' options and compose.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import typer
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from cli.main import app
from docs.generate.markdown import code, codes, generated_from, table
from leeway.settings import (
    ClientSettings,
    DoctorSettings,
    DriftSettings,
    ErasureSettings,
    KeysSettings,
    ServerSettings,
    ServiceSettings,
    Settings,
    SetupSettings,
    SourceSettings,
)
from leeway.telemetry.environment import EXPORT_INTERVAL_S, EXPORT_TIMEOUT_S, FIRST_MILLISECONDS
from leeway.telemetry.providers import ATTRIBUTE_CHARACTERS, EXPORT_BATCH_SPANS
from leeway.telemetry.span_buffer import CAPACITY, INTERVAL_MS, SEND_AT_MOST

_COMPOSE: Final = Path(__file__).parents[2] / "compose.yaml"
_GIB: Final = 2**30
_INTRODUCTION: Final = """\
# Settings

Settings are environment variables. An option on the command line takes precedence over its variable;
`leeway COMMAND --help` shows both. An empty variable counts as not set. If a value is invalid, the command exits with
code 2, and the message says what is allowed. A command ignores settings that it does not need: `leeway drift run`, for
example, has no interval."""

SECTIONS: Final[Mapping[type[Settings], str]] = {
    Settings: "All processes",
    ServerSettings: "The API and the reports page",
    ServiceSettings: "The API",
    SourceSettings: "Predictions of another service",
    DriftSettings: "The drift worker",
    SetupSettings: "Set-up",
    ClientSettings: "Clients of a running service",
    KeysSettings: "`leeway keys`",
    DoctorSettings: "`leeway doctor`",
}
"""The heading of each settings class that adds settings."""

COMMANDS: Final[Mapping[str, type[Settings]]] = {
    "leeway ingest": Settings,
    "leeway train": Settings,
    "leeway setup": SetupSettings,
    "leeway serve": ServiceSettings,
    "leeway drift run": DriftSettings,
    "leeway drift check": SourceSettings,
    "leeway drift worker": DriftSettings,
    "leeway reference make": DriftSettings,
    "leeway source init": SourceSettings,
    "leeway source check": SourceSettings,
    "leeway traffic": ClientSettings,
    "leeway faults on": ClientSettings,
    "leeway faults status": ClientSettings,
    "leeway faults off": ClientSettings,
    "leeway keys add": KeysSettings,
    "leeway keys list": KeysSettings,
    "leeway keys revoke": KeysSettings,
    "leeway log create": Settings,
    "leeway log compact": Settings,
    "leeway log prune": Settings,
    "leeway log forget": ErasureSettings,
    "leeway doctor": DoctorSettings,
}
"""The settings class that each command reads; a test runs each command to check it."""

_OPENTELEMETRY: Final[Mapping[str, str]] = {
    "OTEL_SDK_DISABLED": "`true` turns off all telemetry.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where metrics and traces are sent, such as `http://localhost:4318`. Without it, "
    "nothing is sent and `/metrics` is served instead.",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "`http/protobuf` (default) or `grpc` (usually port 4317, scheme optional).",
    "OTEL_EXPORTER_OTLP_TIMEOUT": f"Limit of one export; default {EXPORT_TIMEOUT_S:g} s, so that an unreachable "
    f"Collector does not delay the exit. A number from {FIRST_MILLISECONDS} on counts milliseconds, as the "
    "specification says, a smaller one seconds, as the SDK for Python says; 0 means no limit.",
    "OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_COMPRESSION": "Headers as `name=value` pairs, and `gzip`, "
    "`deflate` or `none` (default).",
    "OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY, "
    "OTEL_EXPORTER_OTLP_INSECURE": "PEM files for TLS, and for gRPC whether an endpoint without scheme has none.",
    "OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER": "`otlp`, `console` (a line of JSON each), for metrics `prometheus` "
    "(serves `/metrics`), or several; `none` turns off the signal. Default `otlp` if an endpoint is set.",
    "OTEL_PROPAGATORS": "`tracecontext`, `baggage`, `b3`, `b3multi` or `none`; default `tracecontext,baggage`.",
    "OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES": "Override our resource attributes. Without a `service.instance.id`, "
    "each process generates one.",
    "OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG": "Which requests are traced; default all.",
    "OTEL_METRIC_EXPORT_INTERVAL, OTEL_METRIC_EXPORT_TIMEOUT": "Milliseconds between two exports of metrics, default "
    f"{EXPORT_INTERVAL_S * 1_000:,.0f}, and the limit of a collection.",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "`cumulative` (default, and what Prometheus needs), `delta` "
    "or `lowmemory`.",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION, OTEL_METRICS_EXEMPLAR_FILTER": "As in the "
    "specification. Our own histograms keep their buckets.",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": f"Maximum number of spans in one export; default {EXPORT_BATCH_SPANS}, so that "
    f"exports delay requests less, and {SEND_AT_MOST:,} for single predictions, whose spans cost less.",
    "OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_EXPORT_TIMEOUT": "As in the specification, but for "
    f"single predictions {CAPACITY:,} spans and {INTERVAL_MS} ms by default, and no timeout but that of OTLP.",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "Maximum length of a span attribute's "
    f"text; default {ATTRIBUTE_CHARACTERS:,} characters, which bounds memory.",
    "OTEL_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT, "
    "OTEL_SPAN_LINK_COUNT_LIMIT, OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "As in the "
    "specification.",
    "OTEL_LOG_LEVEL": "Level of the SDK's own log messages.",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "Installed resource detectors.",
}

_OPENTELEMETRY_RULES: Final = """\
Read by `leeway serve`, `leeway drift worker` and `leeway traffic` as the
[specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) says. Insert
`_TRACES` or `_METRICS` after `OTLP` for one signal. An invalid value is ignored with a warning, and `leeway doctor`
reports it; one with which a signal could never arrive, such as an endpoint without `http://`, ends the command with
code 2. A receiver that does not answer is logged once, within ten seconds with the default timeout, and once more when
it answers again; `leeway_telemetry_dropped_total` counts what it did not get. Logs are not exported: they are lines of
JSON on standard output, and `otel-collector/config.yaml` shows a receiver for them."""

_ONLY_COMPOSE: Final[Mapping[str, str]] = {
    "LEEWAY_DATABASE_PASSWORD": "PostgreSQL's password, inside the network only",
    "LEEWAY_GRAFANA_URL": "Where `leeway doctor` looks for Grafana, from inside the network; empty if there is none",
    "LEEWAY_PORT": "Port of this machine, on 127.0.0.1, where the API is published",
    "LEEWAY_SAMPLING": "`keep-all` or `tail-sampling`: which traces the Collector keeps",
    "LEEWAY_TRAFFIC": "Options of `leeway traffic` in the profile `traffic`",
}
"""Variables that only compose.yaml reads, or reads in another meaning than our commands."""


def reference() -> str:
    """The whole text."""
    parts = [generated_from("leeway/settings.py, cli/ and compose.yaml"), _INTRODUCTION]
    given = options()
    for kind, heading in SECTIONS.items():
        readers = [command for command, reads in COMMANDS.items() if issubclass(reads, kind)]
        listed = "all commands below" if len(readers) == len(COMMANDS) else codes(readers)
        parts += [f"## {heading}", f"Read by {listed}.", _table(kind, given)]
    parts += [
        "## OpenTelemetry",
        _OPENTELEMETRY_RULES,
        table(
            ("variable", "meaning here"), ((codes(names.split(", ")), text) for names, text in _OPENTELEMETRY.items())
        ),
        "## Docker Compose",
        "Set these in your shell or in a file `.env` next to `compose.yaml`, which sets all others.",
        table(("variable", "default", "meaning"), _compose()),
    ]
    return "\n\n".join(parts) + "\n"


def own_fields(kind: type[Settings]) -> dict[str, FieldInfo]:
    """The fields that a settings class adds to those it inherits."""
    added = vars(kind).get("__annotations__", {})
    return {name: field for name, field in kind.model_fields.items() if name in added}


def options() -> dict[str, dict[str, str]]:
    """For each command, the option of each setting that has one: `leeway serve` → `port` → `--port`."""
    return {
        name: {
            found[1].lower(): parameter.opts[0]
            for parameter in command.params
            if (found := re.search(r"\[LEEWAY_([A-Z_]+)", getattr(parameter, "help", None) or ""))
        }
        for name, command in _commands(typer.main.get_command(app), "leeway")
    }


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (Typer's own type for a command is private)
    """Each command that does something, with its name as typed."""
    below = getattr(command, "commands", {})
    for each in below.values():
        yield from _commands(each, f"{name} {each.name}")
    if not below:
        yield name, command


def _table(kind: type[Settings], given: Mapping[str, Mapping[str, str]]) -> str:
    rows = []
    for name, field in own_fields(kind).items():
        flags = {
            flags[name]: None
            for command, flags in given.items()
            if name in flags and issubclass(COMMANDS[command], kind)
        }
        rows.append((code(variable(name)), codes(flags), _takes(field), _default(field), str(field.description)))
    return table(("variable", "option", "value", "default", "meaning"), rows)


def variable(field: str) -> str:
    """The variable of a setting."""
    return f"LEEWAY_{field.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return code("on" if value else "off")
    return code(f"{value // _GIB}GiB" if _is_size(field) else str(value))


def _takes(field: FieldInfo) -> str:
    """The allowed values in words, with limits."""
    parts = (field.annotation, *get_args(field.annotation))
    choices = next((get_args(each) for each in parts if get_origin(each) is Literal), ())
    if choices:
        return " or ".join(map(code, choices))
    if _is_size(field):
        return "bytes, or with a unit: `500MB`"
    kinds: dict[Any, str] = {bool: "on or off", int: "integer", float: "number", Path: "path", str: "text"}
    return " ".join(filter(None, [next(kinds[each] for each in parts if each in kinds), _limits(field)]))


def _is_size(field: FieldInfo) -> bool:
    """Whether it is a number of bytes, which may have a unit."""
    return field.annotation is ByteSize


def _limits(field: FieldInfo) -> str:
    """`> 0`, `0 to 65535`; empty without limits."""
    found = {
        name: f"{getattr(each, name):g}"
        for each in field.metadata
        for name in ("gt", "ge", "le")
        if hasattr(each, name)
    }
    if "ge" in found and "le" in found:
        return f"{found['ge']} to {found['le']}"
    signs = {"gt": ">", "ge": "≥", "le": "≤"}
    return ", ".join(f"{signs[name]} {limit}" for name, limit in found.items())


def _compose() -> Iterator[tuple[str, str, str]]:
    """Each `LEEWAY_*` variable that compose.yaml takes from its environment, with its default there.

    Raises:
        ValueError: a variable has no description, or one is described that compose.yaml does not have.
    """
    described = {variable(name): field.description for kind in SECTIONS for name, field in kind.model_fields.items()}
    taken = dict(re.findall(r"\$\{(LEEWAY_[A-Z_]+):?-([^}]*)\}", _COMPOSE.read_text(encoding="utf-8")))
    if missing := _ONLY_COMPOSE.keys() - taken.keys():
        raise ValueError(f"compose.yaml does not use {', '.join(sorted(missing))}: remove it from {__name__}")
    for name, default in sorted(taken.items()):
        meaning = _ONLY_COMPOSE.get(name) or described.get(name)
        if meaning is None:
            raise ValueError(f"compose.yaml uses {name}: describe it in {__name__}")
        yield code(name), "–" if default in {"", "/dev/null"} else code(default), meaning
