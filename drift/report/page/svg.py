"""SVG elements as escaped text, and the small shapes that say a state without colour."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup, escape

SHAPES: Final = {"ok": "circle", "watch": "triangle", "act": "square", "unknown": "ring"}
"""Each state has a shape of its own, so that nothing rests on colour alone."""

_PATHS = {
    "circle": "M6 2a4 4 0 1 0 .01 0z",
    "triangle": "M6 1 11.2 10.4H.8z",
    "square": "M1.5 1.5h9v9h-9z",
    "ring": "M6 2a4 4 0 1 0 .01 0z",
}


def element(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """One element; text and attributes are escaped, None leaves an attribute out.

    `class_` stands for `class`, and an underscore for a hyphen: `stroke_width`. A float has at most three decimals.
    """
    given = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    shown = "".join(f' {key}="{escape(_text(value))}"' for key, value in given)
    inner = Markup("").join(children)
    return Markup(f"<{name}{shown}>{inner}</{name}>")  # noqa: S704 (every part of it is escaped above)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3f}".rstrip("0").rstrip(".")


def percent(place: float) -> str:
    """A place in per cent, as an SVG length."""
    return f"{_text(float(place))}%"


def shape(state: str, *, size: int = 12) -> Markup:
    """A state's shape, 12 units wide: circle ok, triangle watch, square act, ring unknown. For the eye only."""
    path = element("path", d=_PATHS[SHAPES[state]])
    return element(
        "svg", path, class_=f"shape {state}", viewBox="0 0 12 12", width=str(size), height=str(size), aria_hidden="true"
    )
