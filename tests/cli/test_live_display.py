from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from cli.live_display import came, draw, is_lively


@pytest.mark.parametrize(
    ("terminal", "kind", "lively"), [(True, "xterm", True), (True, "dumb", False), (False, "", False)]
)
def test_only_a_terminal_that_moves_is_lively(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, kind: str, lively: bool
) -> None:
    """A pipe and a dumb terminal get plain lines."""
    monkeypatch.setenv("TERM", kind)
    assert is_lively(Console(file=io.StringIO(), force_terminal=terminal)) is lively


def test_a_frame_is_drawn_anew_until_it_is_over() -> None:
    """The frame is asked for at once and again and again, and not any more once it is over."""
    drawn: list[str] = []

    async def watched() -> None:
        over = asyncio.Event()

        def frame() -> str:
            drawn.append("frame")
            if len(drawn) == 3:
                over.set()
            return drawn[-1]

        await draw(Console(file=io.StringIO(), force_terminal=True), frame, over)

    asyncio.run(watched())
    assert len(drawn) == 3


@pytest.mark.parametrize(("after_s", "found"), [(0.0, True), (10.0, False)])
def test_what_comes_in_time_is_seen(after_s: float, *, found: bool) -> None:
    """An event is waited for no longer than was said."""

    async def waited() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(after_s, event.set)
        return await came(event, 0.05)

    assert asyncio.run(waited()) is found
