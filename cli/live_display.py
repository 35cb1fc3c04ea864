"""What goes on, for whoever watches: drawn anew in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

DRAW_EVERY_S: Final = 0.25
LINE_EVERY_S: Final = 5.0


def is_lively(out: Console) -> bool:
    """Whether what was shown can be drawn over: in a terminal, unless it is a dumb one."""
    return out.is_terminal and not out.is_dumb_terminal


async def draw(out: Console, frame: Callable[[], RenderableType], over: asyncio.Event) -> None:
    """Draw `frame` again and again until it is over; nothing of it stays."""
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while not over.is_set():
            live.update(frame(), refresh=True)
            await came(over, DRAW_EVERY_S)


async def came(event: asyncio.Event, within_s: float) -> bool:
    """Whether it comes in time."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
