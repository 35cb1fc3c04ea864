"""A load generator at a fixed rate, over plain sockets. Requests are built in advance; `wrk` does the rest."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """The result: latencies in seconds, in the order of sending, and the seconds that it took."""

    latencies_s: list[float]
    elapsed_s: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies_s) / self.elapsed_s

    def quantile_ms(self, share: float) -> float:
        """Latency quantile in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1_000


def wire(body: bytes, path: str = "/predict") -> bytes:
    """An HTTP/1.1 request as bytes."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """A keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    async def ask(self, request: bytes) -> int:
        """Send one request, read the whole answer, and return its status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def _open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> Load:
    """Poisson arrivals; latency counts from the intended start, so that a stall is visible."""
    rng = random.Random(seed)  # noqa: S311 (arrival times, not a secret)
    idle = deque([await Connection.open(port) for _ in range(32)])
    latencies: list[float] = []
    failed = 0
    started = time.perf_counter()
    due, tasks, place = 0.0, set(), 0

    async def one(request: bytes, intended: float) -> None:
        nonlocal failed
        connection = idle.popleft() if idle else await Connection.open(port)
        failed += await connection.ask(request) != 200
        latencies.append(time.perf_counter() - intended)
        idle.append(connection)

    while due < seconds:
        due += rng.expovariate(rate)
        wait = started + due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(requests[place % len(requests)], started + due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        place += 1
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - started
    for each in idle:
        each.close()
    return Load(latencies, elapsed, failed)


def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int = 7) -> Load:
    """Send at random times, `rate` a second on average, without waiting for earlier answers."""
    return asyncio.run(_open_loop(port, requests, rate, seconds, seed))
