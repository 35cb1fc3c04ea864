"""Latencies as people read them, in a terminal and on a page."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "n/a"
_TWO_DECIMALS_BELOW, _ONE_BELOW = 0.995, 99.95
"""What rounds to 1 and to 100 with so many decimals needs one less."""


def bare_ms(value_ms: float | None) -> str:
    """Milliseconds without their unit, two decimals below 1, one below 100, none from there on; `n/a` for None."""
    if value_ms is None:
        return UNKNOWN
    decimals = 2 if value_ms < _TWO_DECIMALS_BELOW else 1 if value_ms < _ONE_BELOW else 0
    return f"{value_ms:,.{decimals}f}"


def ms(value_ms: float | None) -> str:
    """The same with its unit."""
    return UNKNOWN if value_ms is None else f"{bare_ms(value_ms)} ms"


def axis_ms(value_ms: float) -> str:
    """The same for an axis, which says the unit itself and has round numbers: no zeros behind the point."""
    digits = bare_ms(value_ms)
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
