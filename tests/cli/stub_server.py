"""A server on loopback whose answers a test chooses: bytes as they are, or JSON by path."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TypeAlias

from cli.http import ServiceAddress

TRICKLE_S = 0.02
"""The pause between two pieces of an answer that is an iterator."""


@dataclass(frozen=True)
class Request:
    """A request: its number from 0, its method, its path with the query, its headers in lower case, its body."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply: TypeAlias = Callable[[Request], "bytes | Iterator[bytes] | None"]
"""The bytes of the answer, or its pieces. Empty bytes close the connection; with None no answer comes."""
JsonReply: TypeAlias = "tuple[int, object] | Callable[[str], tuple[int, object]]"
"""A status and a body, which is JSON unless it is text; or a function of the whole path that returns them."""


@dataclass
class StubServer:
    """Where it listens, what was requested, and on how many connections."""

    target: ServiceAddress
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    replies: Mapping[str, JsonReply] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return self.target.url


def http(body: bytes = b"{}", status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def predicted(number: int = 0) -> bytes:
    """An answer with a prediction, as far as the sender reads it."""
    document = {"prediction_id": f"p{number}", "features_used": {"x": number}, "prediction": 1, "probability": 0.5}
    return http(json.dumps(document).encode())


@contextmanager
def stub_server(reply: Reply) -> Iterator[StubServer]:
    """Serve in a thread until the block ends; connections that are still open are cut then."""
    stub = StubServer(ServiceAddress("http", "127.0.0.1", 0))
    started, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(stub, reply, started, over)))
    thread.start()
    started.wait()
    try:
        yield stub
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _serve(stub: StubServer, reply: Reply, started: threading.Event, over: asyncio.Event) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stub.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _answer_all(stub, reply, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            writer.transport.abort() if over.is_set() else writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=100)
    stub.target = ServiceAddress("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    started.set()
    await over.wait()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)  # connections close in the next turn


async def _answer_all(
    stub: StubServer, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:]) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(len(stub.requests), method, path, headers, body)
        stub.requests.append(request)
        answer = reply(request)
        if answer is None:
            await reader.read()
            return
        if isinstance(answer, bytes):
            writer.write(answer)
            if not answer:
                return
        else:
            for piece in answer:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(TRICKLE_S)


@contextmanager
def json_server(
    replies: Mapping[str, JsonReply], *, date: str | None = None, server_name: str = "leeway"
) -> Iterator[StubServer]:
    """Serve JSON by path without its query, or by folder and `*`; other paths are 404.

    `date` replaces the true date; `server_name` is the server header.
    """

    def reply(request: Request) -> bytes:
        path = request.path.partition("?")[0]
        folder = path[: path.rindex("/") + 1]
        found = stub.replies.get(path) or stub.replies.get(folder + "*") or (404, {"detail": "not found"})
        status, content = found(request.path) if callable(found) else found
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        return http(body, status, f"date: {date or formatdate(usegmt=True)}\r\nserver: {server_name}\r\n")

    with stub_server(reply) as stub:
        stub.replies = replies
        yield stub
