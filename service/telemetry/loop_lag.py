"""How late the event loop is: what a request waits for before anything of ours begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

EVERY_S = 0.25


@asynccontextmanager
async def watched(record: Callable[[float], None] | None, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """While the block runs, tell `record` again and again by how many seconds the running loop overslept.

    None watches nothing.
    """
    if record is None:
        yield
        return
    task = asyncio.create_task(_watch(record, every_s), name="loop lag")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _watch(record: Callable[[float], None], every_s: float) -> None:
    while True:
        due_s = time.perf_counter() + every_s
        await asyncio.sleep(every_s)
        record(max(0.0, time.perf_counter() - due_s))
