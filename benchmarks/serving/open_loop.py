"""A load generator at a fixed mean rate, over plain sockets: Poisson arrivals that do not wait for earlier answers.

A client that waits for its answer before it sends again omits the requests that a stall would have delayed (coordinated
omission). Here each request has its time in advance, and its latency counts from that time, so a stall counts for all
requests that it delays. `select` waits with the precision of microseconds, unlike asyncio's loop (milliseconds).
`late_ms` is how late the client itself was: a latency is exact to about that.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

CONNECTIONS = 32
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Arrivals:
    """The result: sorted latencies, and how late requests were sent, in seconds; answers other than 200."""

    latencies_s: Sequence[float]
    lateness_s: Sequence[float]
    failed: int

    def quantile_ms(self, share: float) -> float:
        """A quantile of the latency in milliseconds."""
        return quantile(self.latencies_s, share) * 1_000

    def p99_ms(self) -> float:
        """The 99th percentile of the latency in milliseconds."""
        return self.quantile_ms(0.99)

    def late_ms(self) -> float:
        """The 99th percentile of the client's own delay in milliseconds."""
        return quantile(self.lateness_s, 0.99) * 1_000


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile `share` of sorted values, by the nearest-rank method."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def wire(body: bytes, path: str = "/predict") -> bytes:
    """An HTTP/1.1 request as bytes."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def due_times(rate: float, seconds: float, seed: int) -> list[float]:
    """When to send, in seconds from the start: `rate` times a second on average, at random."""
    chance = random.Random(seed)  # noqa: S311 (arrival times, not a secret)
    times, due = [], chance.expovariate(rate)
    while due < seconds:
        times.append(due)
        due += chance.expovariate(rate)
    return times


class _Connection:
    """A keep-alive connection, with the request that it waits for."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_s = 0.0
        self._received = b""

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def receive(self) -> int:
        """Read what has arrived; return the status once the whole answer has, else 0."""
        part = self.socket.recv(65_536)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._received += part
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return 0
        self._received = b""
        return int(head[9:12])


def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int = 7) -> Arrivals:
    """Send `requests` in turn, `rate` a second on average, and wait for all answers.

    Raises:
        ConnectionError: the server closed a connection.
        TimeoutError: no answer came for a long time.
    """
    due = deque(enumerate(due_times(rate, seconds, seed)))
    idle = [_Connection(port) for _ in range(CONNECTIONS)]
    opened = list(idle)
    gc.collect()
    gc.disable()
    try:
        return _send(port, requests, due, idle, opened)
    finally:
        gc.enable()
        for connection in opened:
            connection.socket.close()


def _send(
    port: int,
    requests: Sequence[bytes],
    due: deque[tuple[int, float]],
    idle: list[_Connection],
    opened: list[_Connection],
) -> Arrivals:
    busy: set[_Connection] = set()
    latencies: list[float] = []
    lateness: list[float] = []
    failed, start = 0, time.perf_counter()
    while due or busy:
        while due and (now := time.perf_counter() - start) >= due[0][1]:
            number, at_s = due.popleft()
            if not idle:
                opened.append(_Connection(port))
                idle.append(opened[-1])
            connection = idle.pop()
            connection.socket.sendall(requests[number % len(requests)])
            connection.due_s = at_s
            lateness.append(now - at_s)
            busy.add(connection)
        wait_s = max(0.0, start + due[0][1] - time.perf_counter()) if due else ANSWER_TIMEOUT_S
        readable = select.select(busy, [], [], wait_s)[0]
        if not readable and not due:
            raise TimeoutError(f"{len(busy)} requests were not answered in {ANSWER_TIMEOUT_S:.0f} s")
        for connection in readable:
            if status := connection.receive():
                latencies.append(time.perf_counter() - start - connection.due_s)
                failed += status != 200
                busy.remove(connection)
                idle.append(connection)
    return Arrivals(sorted(latencies), sorted(lateness), failed)
