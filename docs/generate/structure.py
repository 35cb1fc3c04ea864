"""The pictures in `docs/architecture.md`: packages, modules and who imports whom, from the import graph, as Mermaid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

import grimp

PACKAGES: Final = ("cli", "service", "drift", "observability", "docs", "leeway")
ROOMS: Final[Mapping[str, str]] = {
    "typer": "Typer, Rich",
    "fastapi": "FastAPI",
    "evidently": "Evidently",
    "sqlalchemy": "SQLAlchemy",
    "onnxruntime": "ONNX Runtime",
    "sklearn": "scikit-learn",
    "opentelemetry": "OpenTelemetry",
    "grafana_foundation_sdk": "Grafana's SDK",
}
"""The libraries that a few modules alone may import, and what people call them."""

Arrow: TypeAlias = tuple[str, str]
_BLOCK: Final = re.compile(r"<!-- picture: ([a-z]+) -->\n.*?<!-- end -->", flags=re.DOTALL)


def with_pictures(text: str) -> str:
    """`text` with what stands between `<!-- picture: NAME -->` and `<!-- end -->` drawn anew.

    Raises:
        KeyError: there is no picture of such a name.
    """
    return _BLOCK.sub(lambda found: f"<!-- picture: {found[1]} -->\n{PICTURES[found[1]]()}\n<!-- end -->", text)


def packages() -> str:
    """The packages, `leeway.telemetry` apart, who imports whom, and which library lives in which of them."""
    boxes = (*PACKAGES, "leeway.telemetry")
    arrows = {
        (_box(importer, boxes), _box(imported, boxes))
        for importer in _modules()
        for imported in _graph().find_modules_directly_imported_by(importer)
        if _box(imported, boxes)
    }
    drawn = [f'  {_key(box)}["{box}"]' for box in boxes]
    drawn += [f"  {_key(a)} --> {_key(b)}" for a, b in _shortest(arrow for arrow in arrows if len(set(arrow)) > 1)]
    for library, called in ROOMS.items():
        drawn.append(f'  {_key(library)}(["{called}"]):::library')
        rooms = {_box(importer, boxes) for importer in _graph().find_modules_that_directly_import(library)}
        drawn += [f"  {_key(room)} -.-> {_key(library)}" for room in sorted(rooms)]
    return _mermaid("TB", [*drawn, "  classDef library stroke-dasharray: 3 3"])


def _shortest(arrows: Iterable[Arrow]) -> list[Arrow]:
    """The arrows without those that a longer way says already: of a → b → c and a → c, the last is left out.

    Raises:
        ValueError: the arrows go round in a circle, which no picture of layers can show.
    """
    to: dict[str, set[str]] = {}
    for importer, imported in arrows:
        to.setdefault(importer, set()).add(imported)
    reached = {each: _beyond(each, to) for each in to}
    if circle := sorted(each for each in reached if each in reached[each]):
        raise ValueError(f"these import each other in a circle: {', '.join(circle)}")
    return sorted(
        (importer, imported)
        for importer, several in to.items()
        for imported in several
        if not any(imported in reached.get(other, ()) for other in several - {imported})
    )


def _beyond(start: str, to: Mapping[str, set[str]]) -> set[str]:
    """All that can be reached from `start`."""
    seen: set[str] = set()
    waiting = [*to.get(start, ())]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += to.get(each, ())
    return seen


def _box(module: str, boxes: Sequence[str]) -> str:
    """The innermost of the boxes that holds the module; empty where none does."""
    return max((box for box in boxes if module == box or module.startswith(f"{box}.")), key=len, default="")


def _key(name: str) -> str:
    """A box's id. Mermaid takes `end` and leading underscores badly, so each has a prefix."""
    return f"m_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _mermaid(direction: str, lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", f"flowchart {direction}", *lines, "```"])


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


@cache
def _modules() -> tuple[str, ...]:
    """Our own modules, in order."""
    return tuple(sorted(module for module in _graph().modules if module.split(".")[0] in PACKAGES))


PICTURES: Final[Mapping[str, Callable[[], str]]] = {"packages": packages}
