"""Live output: redrawn in a terminal, a plain line every few seconds elsewhere; and latencies as people read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

DRAW_EVERY_S: Final = 0.25
LINE_EVERY_S: Final = 5.0
UNKNOWN: Final = "n/a"
_TWO_DECIMALS_BELOW, _ONE_BELOW = 0.995, 99.95
"""What rounds to 1 and to 100 with that many decimals needs one less."""


def is_lively(out: Console) -> bool:
    """Whether output can be redrawn: in a terminal that is not a dumb one."""
    return out.is_terminal and not out.is_dumb_terminal


async def draw(out: Console, frame: Callable[[], RenderableType], over: asyncio.Event) -> None:
    """Redraw `frame` until `over` is set, then remove it."""
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while not over.is_set():
            live.update(frame(), refresh=True)
            await wait_for(over, DRAW_EVERY_S)


async def wait_for(event: asyncio.Event, within_s: float) -> bool:
    """Whether the event is set within that time."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def bare_ms(value_ms: float | None) -> str:
    """Milliseconds without a unit: two decimals below 1, one below 100, none above; `n/a` for None."""
    if value_ms is None:
        return UNKNOWN
    decimals = 2 if value_ms < _TWO_DECIMALS_BELOW else 1 if value_ms < _ONE_BELOW else 0
    return f"{value_ms:,.{decimals}f}"


def ms(value_ms: float | None) -> str:
    """The same with the unit."""
    return UNKNOWN if value_ms is None else f"{bare_ms(value_ms)} ms"


def axis_ms(value_ms: float) -> str:
    """The same for an axis, which names the unit itself: no zeros after the decimal point."""
    digits = bare_ms(value_ms)
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
