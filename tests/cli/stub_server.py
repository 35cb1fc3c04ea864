"""A server that answers as a test tells it, to see what a client makes of that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cli.http import Target


@dataclass(frozen=True)
class Request:
    """What came: its place, the first line and the headers, and its body."""

    place: int
    head: str
    body: bytes


Reply = Callable[[Request], bytes | None]
"""The bytes to answer with: none at all end the connection; None means that no answer comes."""


@dataclass
class Stub:
    """Where it listens, what came, and on how many connections."""

    target: Target
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


def http(body: bytes = b"{}", status: int = 200, headers: str = "") -> bytes:
    """An answer as servers give it."""
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def predicted(place: int = 0) -> bytes:
    """A prediction, as far as the sender looks at one."""
    return http(json.dumps({"prediction_id": f"p{place}", "features_used": {"x": place}, "probability": 0.5}).encode())


@asynccontextmanager
async def stub_server(reply: Reply) -> AsyncIterator[Stub]:
    """Serve on a free port; connections that still hang are cut at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stub.connections += 1
        writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                request = Request(len(stub.requests), head, await reader.readexactly(length))
                stub.requests.append(request)
                answer = reply(request)
                if answer is None:
                    await reader.read()
                if not answer:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stub = Stub(Target("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield stub
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # a turn for each to see it
