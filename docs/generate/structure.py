"""The diagram of packages in `docs/architecture.md`: who imports whom, from the import graph, as Mermaid."""

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
"""Libraries that only a few modules may import, with their usual names."""

Arrow: TypeAlias = tuple[str, str]
_BLOCK: Final = re.compile(r"<!-- picture: ([a-z]+) -->\n.*?<!-- end -->", flags=re.DOTALL)


def with_pictures(text: str) -> str:
    """`text` with each part between `<!-- picture: NAME -->` and `<!-- end -->` replaced by the current diagram.

    Raises:
        KeyError: no diagram has this name.
    """
    return _BLOCK.sub(lambda found: f"<!-- picture: {found[1]} -->\n{PICTURES[found[1]]()}\n<!-- end -->", text)


def packages() -> str:
    """The packages with `leeway.telemetry` as a box of its own, their imports, and the libraries they import."""
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
    """The arrows without those that follow from a longer path: of a → b → c and a → c, the last is left out.

    Raises:
        ValueError: the imports form a cycle.
    """
    to: dict[str, set[str]] = {}
    for importer, imported in arrows:
        to.setdefault(importer, set()).add(imported)
    reached = {each: _beyond(each, to) for each in to}
    if cycle := sorted(each for each in reached if each in reached[each]):
        raise ValueError(f"import cycle: {', '.join(cycle)}")
    return sorted(
        (importer, imported)
        for importer, several in to.items()
        for imported in several
        if not any(imported in reached.get(other, ()) for other in several - {imported})
    )


def _beyond(start: str, to: Mapping[str, set[str]]) -> set[str]:
    """Everything reachable from `start`."""
    seen: set[str] = set()
    waiting = [*to.get(start, ())]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += to.get(each, ())
    return seen


def _box(module: str, boxes: Sequence[str]) -> str:
    """The innermost box that contains the module; empty if none does."""
    return max((box for box in boxes if module == box or module.startswith(f"{box}.")), key=len, default="")


def _key(name: str) -> str:
    """A box's id. The prefix protects names such as `end` and leading underscores, which Mermaid misreads."""
    return f"m_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"


def _mermaid(direction: str, lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", f"flowchart {direction}", *lines, "```"])


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


@cache
def _modules() -> tuple[str, ...]:
    """Our own modules, sorted."""
    return tuple(sorted(module for module in _graph().modules if module.split(".")[0] in PACKAGES))


PICTURES: Final[Mapping[str, Callable[[], str]]] = {"packages": packages}
