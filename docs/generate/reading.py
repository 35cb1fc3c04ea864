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

_HOLDER: Final = "settings"
"""What a settings object is called, wherever it is handed on."""


@dataclass(frozen=True)
class Function:
    """A function of ours, or a class, by its module and name."""

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
        found |= {node.attr for node in ast.walk(body) if isinstance(node, ast.Attribute) and _is_settings(node.value)}
        found |= set(_texts(body))
        waiting += _handed_to(function, body)
    return found & set(fields)


def _handed_to(function: Function, body: ast.AST) -> Iterator[Function]:
    """What is called with the settings, and what is handed on beside them (a function that another one will call)."""
    known = _imports(_tree(function.module)) | _imports(body)
    for call in (node for node in ast.walk(body) if isinstance(node, ast.Call)):
        arguments = [*call.args, *(each.value for each in call.keywords)]
        if any(_is_settings(argument) for argument in arguments):
            for named in (call.func, *arguments):
                if isinstance(named, ast.Name):
                    yield known.get(named.id, Function(function.module, named.id))
                elif isinstance(named, ast.Attribute) and isinstance(named.value, ast.Name) and named.value.id in known:
                    module = known[named.value.id]
                    yield Function(f"{module.module}.{module.name}", named.attr)


def _is_settings(argument: ast.expr) -> bool:
    """`settings`, `self.settings`, or `XSettings.read(…)`."""
    if isinstance(argument, ast.Name):
        return argument.id == _HOLDER
    if isinstance(argument, ast.Attribute):
        return argument.attr == _HOLDER
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
            (*_, asked) = node.comparators
            if isinstance(asked, ast.Attribute) and asked.attr == "model_fields_set" and _is_settings(asked.value):
                yield node.left.value


def _definition(function: Function) -> ast.AST | None:
    """The function's or the class's own tree; None for a library's, or for a name that holds neither."""
    for node in ast.walk(_tree(function.module)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == function.name:
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
    try:
        found = find_spec(module) if ours else None
    except ModuleNotFoundError:  # `known.attribute` of something that is no module
        found = None
    return ast.parse(Path(found.origin).read_text(encoding="utf-8") if found and found.origin else "")
