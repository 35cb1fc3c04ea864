"""The command line as the reference needs it: each command, what it reads, and the flags that stand for settings.

Read from the source and from Typer's own account of the commands, so that nothing heavy is imported.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer

from cli.main import app
from docs.generate.reading import Function, fields_read
from leeway import settings
from leeway.settings import Settings

KINDS: Final[Mapping[str, type[Settings]]] = {
    name: kind for name, kind in vars(settings).items() if isinstance(kind, type) and issubclass(kind, Settings)
}
_VARIABLE: Final = re.compile(r"\[LEEWAY_([A-Z_]+)")


@dataclass(frozen=True)
class Command:
    """One command: its name as typed, the settings that it makes use of, and the flags that go before some of them."""

    name: str
    kind: type[Settings]
    reads: frozenset[str]
    flags: Mapping[str, str]


def commands() -> list[Command]:
    """Every command that reads settings, in the help's order.

    Raises:
        ValueError: a command has a flag for a setting that it does not read.
    """
    found = []
    for name, callback, flags in _walk(typer.main.get_command(app), "leeway"):
        kind = _kind(callback)
        if kind is None:
            continue
        reads = fields_read(Function(callback.__module__, callback.__name__), kind.model_fields)
        if unread := flags.keys() - reads:
            raise ValueError(f"{name} has a flag for {', '.join(sorted(unread))}, and makes no use of it")
        found.append(Command(name, kind, frozenset(reads), flags))
    return found


def _walk(command: Any, name: str) -> Iterator[tuple[str, Callable[..., Any], dict[str, str]]]:  # noqa: ANN401 (Typer's own type for a command is private)
    """Each command with its function and its flags, by the setting that they stand for."""
    for each in getattr(command, "commands", {}).values():
        yield from _walk(each, f"{name} {each.name}")
    if command.callback is not None and not hasattr(command, "commands"):
        flags = {
            stands_for[1].lower(): parameter.opts[0]
            for parameter in command.params
            if (stands_for := _VARIABLE.search(getattr(parameter, "help", None) or ""))
        }
        yield name, inspect.unwrap(command.callback), flags


def _kind(callback: Callable[..., Any]) -> type[Settings] | None:
    """The kind of settings that a command reads, by `ServiceSettings.read(…)` in its function; None for none."""
    for node in ast.walk(ast.parse(inspect.getsource(callback))):
        if isinstance(node, ast.Attribute) and node.attr == "read" and isinstance(node.value, ast.Name):
            return KINDS.get(node.value.id)
    return None
