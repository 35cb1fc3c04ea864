"""Which settings a function makes use of: those it takes from a `settings` object, and those of whom it hands it to.

The source is read, not run, so that nothing heavy is imported for it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_HOLDERS: Final = {"settings"}
"""What a settings object is called, wherever it is handed on."""


@dataclass(frozen=True)
class Function:
    """A function of ours, by its module and name."""

    module: str
    name: str


def fields_read(start: Function, fields: Collection[str]) -> set[str]:
    """Which of `fields` are read in `start`, and in what it calls with its settings."""
    seen: set[Function] = set()
    waiting = [start]
    found: set[str] = set()
    while waiting:
        function = waiting.pop()
        if function in seen or (body := _definition(function)) is None:
            continue
        seen.add(function)
        found |= {
            node.attr
            for node in ast.walk(body)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _HOLDERS
        }
        found |= {text for text in _texts(body) if text in fields}
        waiting += _handed_to(function, body)
    return found & set(fields)


def _handed_to(function: Function, body: ast.AST) -> Iterator[Function]:
    """What is called with the settings, and what is handed on beside them (a function that another one will call)."""
    known = _imports(_tree(function.module)) | _imports(body)
    for call in (node for node in ast.walk(body) if isinstance(node, ast.Call)):
        arguments = [*call.args, *(each.value for each in call.keywords)]
        if any(_is_settings(argument) for argument in arguments):
            for name in (each.id for each in (call.func, *arguments) if isinstance(each, ast.Name)):
                yield known.get(name, Function(function.module, name))


def _is_settings(argument: ast.expr) -> bool:
    """`settings`, or `XSettings.read(…)`."""
    if isinstance(argument, ast.Name):
        return argument.id in _HOLDERS
    called = argument.func if isinstance(argument, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and called.attr == "read"
        and isinstance(called.value, ast.Name)
        and called.value.id.endswith("Settings")
    )


def _texts(body: ast.AST) -> Iterator[str]:
    """Names of fields as text, as in `"reports_url" in settings.model_fields_set`."""
    for node in ast.walk(body):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            yield node.left.value


def _definition(function: Function) -> ast.AST | None:
    """The function's own tree; None for a class, a library's function or a name that holds no function."""
    for node in ast.walk(_tree(function.module)):
        if isinstance(node, ast.FunctionDef) and node.name == function.name:
            return node
    return None


def _imports(tree: ast.AST) -> dict[str, Function]:
    """What `from module import name` brings, wherever it stands in the tree."""
    return {
        each.asname or each.name: Function(node.module, each.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for each in node.names
    }


@cache
def _tree(module: str) -> ast.Module:
    """The module's source as a tree; empty for what is none of ours."""
    ours = module.split(".", maxsplit=1)[0] in {"cli", "service", "drift", "leeway"}
    found = find_spec(module) if ours else None
    return ast.parse(Path(found.origin).read_text(encoding="utf-8") if found and found.origin else "")
