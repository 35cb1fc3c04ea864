"""Pauses of threads that work in the background, so that the event loop's thread answers requests meanwhile.

A busy thread gives the interpreter lock away only after an interval, and the event loop needs the lock several times
per request. On one core the kernel, too, lets a busy thread run for milliseconds. A thread that sleeps for a moment
gives away both at once. `sleep(0)` does not: on one core it takes the lock back before another thread has noticed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

PAUSE_S: Final = 0.00001
PAUSE_ROWS: Final = 250
"""Rows between two pauses: they take less than a millisecond in each step of a prediction."""
Item = TypeVar("Item")


def pause() -> None:
    """Let another thread run."""
    time.sleep(PAUSE_S)


def pause_if_many(rows: int) -> None:
    """Pause between two steps of work on so many rows."""
    if rows > PAUSE_ROWS:
        pause()


def paced(items: Sequence[Item]) -> Iterator[Item]:
    """The items, with a pause after each `PAUSE_ROWS` of them.

    >>> sum(paced(range(1_000)))
    499500
    """
    for start in range(0, len(items), PAUSE_ROWS):
        if start:
            pause()
        yield from items[start : start + PAUSE_ROWS]
