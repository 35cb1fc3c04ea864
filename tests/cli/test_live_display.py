from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from cli.live_display import axis_ms, bare_ms, draw, is_lively, ms, wait_for


@pytest.mark.parametrize(
    ("terminal", "kind", "lively"), [(True, "xterm", True), (True, "dumb", False), (False, "", False)]
)
def test_only_capable_terminals_are_lively(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, kind: str, lively: bool
) -> None:
    """Pipes and dumb terminals are not redrawn."""
    monkeypatch.setenv("TERM", kind)
    assert is_lively(Console(file=io.StringIO(), force_terminal=terminal)) is lively


def test_frames_are_redrawn_until_the_end() -> None:
    """The frame is drawn at once and repeatedly, and not after the end."""
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
def test_waiting_for_an_event_has_a_limit(after_s: float, *, found: bool) -> None:
    """Waiting for an event ends with the event or after the given time."""

    async def waited() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(after_s, event.set)
        return await wait_for(event, 0.05)

    assert asyncio.run(waited()) is found


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [(0.04, "0.04"), (0.996, "1.0"), (1.23, "1.2"), (99.9, "99.9"), (99.96, "100"), (123.4, "123"), (12_300, "12,300")],
)
def test_milliseconds_have_few_digits(value_ms: float, text: str) -> None:
    """A latency has two decimals below 1 ms, one below 100, and none from there on, with its unit or without."""
    assert (bare_ms(value_ms), ms(value_ms)) == (text, f"{text} ms")


def test_unknown_latencies_have_no_unit() -> None:
    """An unknown latency is n/a."""
    assert (bare_ms(None), ms(None)) == ("n/a", "n/a")


@pytest.mark.parametrize(("value_ms", "text"), [(0, "0"), (0.5, "0.5"), (20, "20"), (100, "100"), (1_000, "1,000")])
def test_axis_labels_have_no_trailing_zeros(value_ms: float, text: str) -> None:
    """Round numbers have no decimals on an axis."""
    assert axis_ms(value_ms) == text
