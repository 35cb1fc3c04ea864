from __future__ import annotations

import asyncio
import threading
import time

import pytest

from cli.http import ServiceAddress
from cli.traffic import transport
from cli.traffic.transport import BrokenAnswer, LoadClient, Reply
from tests.cli import stub_server as stubs
from tests.cli.stub_server import StubServer, http, stub_server

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def posted(
    reply: stubs.Reply, times: int = 1, timeout_s: float = 5.0, base: str = ""
) -> tuple[list[Reply], StubServer]:
    """Post to a server with these answers, some times in a row."""

    async def post(target: ServiceAddress) -> list[Reply]:
        client = LoadClient(target, timeout_s)
        try:
            return [await client.post("/x", b"12", {"a": "b"}) for _ in range(times)]
        finally:
            client.close()

    with stub_server(reply) as server:
        return asyncio.run(post(ServiceAddress("http", "127.0.0.1", server.target.port, base))), server


def test_requests_are_complete() -> None:
    """A request has its method, path with prefix, host, content type, our headers and its body."""
    _, server = posted(lambda _: http(), base="/leeway")
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/leeway/x", b"12")
    sent = {"host": f"127.0.0.1:{server.target.port}", "content-type": "application/json", "a": "b"}
    assert sent.items() <= request.headers.items()


@pytest.mark.parametrize("answer", [http(b"abcde"), CHUNKED], ids=["length", "chunks"])
def test_connections_are_reused(answer: bytes) -> None:
    """Answers in one piece or in chunks are read completely, and the next request reuses the connection."""
    replies, server = posted(lambda _: answer, times=3)
    assert replies == [Reply(200, b"abcde")] * 3
    assert server.connections == 1


def test_closing_connections_are_not_reused() -> None:
    """If the server announces that it closes a connection, the next request opens another."""
    assert posted(lambda _: http(headers="connection: close\r\n"), times=3)[1].connections == 3


def test_old_connections_are_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the server may be closing right now is not reused."""
    monkeypatch.setattr(transport, "KEEP_S", -1.0)
    assert posted(lambda _: http(), times=3)[1].connections == 3


def test_the_timeout_limits_the_whole_request() -> None:
    """A request without an answer ends after the timeout."""
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        posted(lambda _: None, timeout_s=0.1)
    assert time.monotonic() - began_s < 2


def test_late_answers_are_dropped() -> None:
    """After a request that timed out, the next one gets its own answer."""

    async def post(target: ServiceAddress) -> Reply:
        client = LoadClient(target, 0.2)
        with pytest.raises(TimeoutError):
            await client.post("/x", b"", {})
        reply = await client.post("/x", b"", {})
        client.close()
        return reply

    with stub_server(lambda request: None if request.number == 0 else http(b"second")) as server:
        assert asyncio.run(post(server.target)).body == b"second"


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", http(b"12345")[:-2] + b"", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
    ids=["closed", "not HTTP", "half", "bad length"],
)
def test_broken_answers_are_errors(answer: bytes) -> None:
    """A connection that closes early or speaks another protocol ends in an error, never in an answer."""
    with pytest.raises((BrokenAnswer, TimeoutError)):
        posted(lambda _: answer, timeout_s=0.5)


def test_large_answers_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer above the size limit is an error, and does not fill the memory."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(BrokenAnswer, match="larger"):
        posted(lambda _: http(b"x" * 11))


def test_a_closed_port_is_an_error() -> None:
    """A port where nothing listens is an error of the operating system."""
    with stub_server(lambda _: http()) as server:
        pass
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(LoadClient(server.target, 1.0).post("/x", b"", {}))


def test_a_closed_client_keeps_no_connection() -> None:
    """A request that is answered after `close` does not leave its connection open."""
    release = threading.Event()

    def slowly(_: stubs.Request) -> bytes | None:
        release.wait(5)
        return http()

    async def post(target: ServiceAddress) -> tuple[int, int]:
        client = LoadClient(target, 5.0)
        waiting = asyncio.create_task(client.post("/x", b"", {}))
        await asyncio.sleep(0.05)
        client.close()
        release.set()
        return (await waiting).status, len(client._idle)

    with stub_server(slowly) as server:
        assert asyncio.run(post(server.target)) == (200, 0)
