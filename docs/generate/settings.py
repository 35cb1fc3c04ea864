"""`docs/reference/settings.md`: every variable, from `leeway.settings`, the commands that read it, and compose.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from docs.generate.commands import KINDS, Command, commands
from docs.generate.markdown import code, codes, generated_from, table
from leeway.settings import Settings
from leeway.telemetry.environment import EXPORT_INTERVAL_S, EXPORT_TIMEOUT_S
from leeway.telemetry.providers import ATTRIBUTE_CHARACTERS, EXPORT_BATCH_SPANS

_COMPOSE: Final = Path(__file__).parents[2] / "compose.yaml"
_GIB: Final = 2**30
_INTRODUCTION: Final = """\
# Settings

Settings are environment variables. A flag of the command goes before its variable; `leeway COMMAND --help` shows both.
An empty variable counts as not set. A value that cannot be used ends the command with exit code 2, and the message says
what would do."""

_OPENTELEMETRY: Final[Mapping[str, str]] = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where metrics and traces go, such as `http://localhost:4318`. Where it is not set, "
    "nothing is sent and `/metrics` is served instead. `_TRACES_` or `_METRICS_` after `OTLP` sets one of the two.",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "`http/protobuf` (the default here) or `grpc` (port 4317, as a rule).",
    "OTEL_EXPORTER_OTLP_TIMEOUT": f"Seconds for one export; {EXPORT_TIMEOUT_S:g} by default here, so that a dead "
    "Collector delays no exit.",
    "OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER": "`none` switches the signal's export off.",
    "OTEL_SDK_DISABLED": "`true` switches telemetry off altogether.",
    "OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES": "Go before our own resource attributes. Without a "
    "`service.instance.id` each process gets one of its own.",
    "OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG": "Which requests are traced; all by default.",
    "OTEL_METRIC_EXPORT_INTERVAL": "Milliseconds from one export of metrics to the next; "
    f"{EXPORT_INTERVAL_S * 1_000:,.0f} by default.",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": f"Most spans in one export; {EXPORT_BATCH_SPANS} by default here, so that "
    "requests wait less.",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "Characters after which a span "
    f"attribute's text is cut; {ATTRIBUTE_CHARACTERS:,} by default here, so that nobody fills the memory with them.",
}

_ONLY_COMPOSE: Final[Mapping[str, str]] = {
    "LEEWAY_DATABASE_PASSWORD": "PostgreSQL's password, inside the network only",
    "LEEWAY_GRAFANA_URL": "Where `leeway doctor` looks for Grafana, from inside the network; empty: nowhere",
    "LEEWAY_PORT": "Port of this machine, on 127.0.0.1, where the API is published",
    "LEEWAY_SAMPLING": "`keep-all` or `tail-sampling`: which traces the Collector keeps",
    "LEEWAY_TRAFFIC": "Flags for `leeway traffic` of the profile `traffic`, in place of those shown",
}
"""What compose.yaml alone takes, or takes in another meaning than our commands do."""


def reference() -> str:
    """The whole text."""
    found = commands()
    parts = [generated_from("leeway/settings.py, cli/ and compose.yaml"), _INTRODUCTION]
    for kind in KINDS.values():
        heading, _, more = (kind.__doc__ or kind.__name__).splitlines()[0].removesuffix(".").partition(": ")
        parts += [f"## {heading}", *([f"{more[0].upper()}{more[1:]}."] if more else []), _of_kind(kind, found)]
    parts += [
        "## What belongs to OpenTelemetry",
        "Read by the SDK, or as it would read them. `leeway serve`, `leeway drift worker` and `leeway traffic` send.",
        table(
            ("variable", "meaning here"), ((codes(names.split(", ")), said) for names, said in _OPENTELEMETRY.items())
        ),
        "## What `docker compose up` passes on",
        "Set these in your shell or in a file `.env` beside `compose.yaml`; the rest is set there.",
        table(("variable", "default there", "meaning"), _compose()),
    ]
    return "\n\n".join(parts) + "\n"


def variable(field: str) -> str:
    """The variable of a setting."""
    return f"LEEWAY_{field.upper()}"


def _of_kind(kind: type[Settings], found: list[Command]) -> str:
    rows = []
    for name in vars(kind)["__annotations__"]:
        field = kind.model_fields.get(name)
        if field is not None:
            readers = [each for each in found if name in each.reads and _belongs(each, kind, name)]
            shown = codes(_with_flag(each, name) for each in readers) or "nothing yet"
            rows.append((code(variable(name)), _takes(field), _default(field), str(field.description), shown))
    return table(("variable", "takes", "default", "meaning", "read by, with its flag"), rows)


def _belongs(command: Command, kind: type[Settings], name: str) -> bool:
    """Where two processes have a setting of one name, whether this command is of this kind."""
    of_one_name = [each for each in KINDS.values() if name in vars(each)["__annotations__"]]
    return len(of_one_name) == 1 or issubclass(command.kind, kind)


def _with_flag(command: Command, name: str) -> str:
    flag = command.flags.get(name)
    return f"{command.name} {flag}" if flag else command.name


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "–"
    if isinstance(value, bool):
        return code("on" if value else "off")
    return code(f"{value // _GIB}GiB" if _is_size(field) else str(value))


def _takes(field: FieldInfo) -> str:
    """What may be given, in words, with its limits."""
    choices = next((get_args(each) for each in _parts(field.annotation) if get_origin(each) is Literal), ())
    if choices:
        return " or ".join(map(code, choices))
    if _is_size(field):
        return "bytes, or like `500MB`"
    kinds: dict[Any, str] = {bool: "on or off", int: "whole number", float: "number", Path: "path", str: "text"}
    word = next((kinds[each] for each in _parts(field.annotation) if each in kinds), "text")
    limits = _limits(field)
    return f"{word} {limits}" if limits else word


def _is_size(field: FieldInfo) -> bool:
    """Whether it is a number of bytes, which may be given with a unit."""
    return any("_bytes" in repr(each) for each in field.metadata)


def _parts(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 (an annotation may be anything)
    """The annotation itself, and of a union its members."""
    return (annotation, *(each for each in get_args(annotation) if get_origin(annotation) is not Literal))


def _limits(field: FieldInfo) -> str:
    """`> 0`, `0 to 65535`; nothing where there are none."""
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
    """Each variable of ours that compose.yaml takes from its surroundings, with the default that it gives it.

    Raises:
        ValueError: one of them is described nowhere, or one is described that is not there.
    """
    described = {
        variable(name): field.description for kind in KINDS.values() for name, field in kind.model_fields.items()
    }
    taken = dict(re.findall(r"\$\{(LEEWAY_[A-Z_]+):?-([^}]*)\}", _COMPOSE.read_text(encoding="utf-8")))
    if gone := _ONLY_COMPOSE.keys() - taken.keys():
        raise ValueError(f"{', '.join(sorted(gone))}: not in compose.yaml any more")
    for name, default in sorted(taken.items()):
        said = _ONLY_COMPOSE.get(name) or described.get(name)
        if said is None:
            raise ValueError(f"{name} is in compose.yaml; say in {__name__} what it does")
        yield code(name), "–" if default in {"", "/dev/null"} else code(default), said
