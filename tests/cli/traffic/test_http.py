from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from cli import http as traffic_http
from cli.http import Answer, BadAnswer, BadUrl, HttpClient, Target
from tests.cli.stub_server import Reply, Request, Stub, http, stub_server

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def asked(reply: Reply, times: int = 1, timeout_s: float = 5.0) -> tuple[list[Answer], Stub]:
    """Ask a server that answers so, some times in a row."""

    async def ask() -> tuple[list[Answer], Stub]:
        async with stub_server(reply) as stub:
            client = HttpClient(stub.target, timeout_s)
            try:
                return [await client.ask("POST", "/x", b"12", {"a": "b"}) for _ in range(times)], stub
            finally:
                client.close()

    return asyncio.run(ask())


def always(answer: bytes | None) -> Callable[[Request], bytes | None]:
    """The same answer each time."""
    return lambda _: answer


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://service", "http://service:80"),
        ("https://example.org/leeway/", "https://example.org:443/leeway"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_is_read(url: str, expected: str) -> None:
    """Scheme, host, port and the path before ours are taken from an address; ports have their defaults."""
    assert Target.parse(url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8000", "ftp://x", "http://", "http://a:b@c", "http://x:99999"),
        *("http://x/?a", "http://x/#a", "http://x/ü", "http://x y/"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """Anything but a plain http or https address is refused, passwords in it too."""
    with pytest.raises(BadUrl, match=r"no address|holds more"):
        Target.parse(url)


def test_a_refused_address_is_not_told_whole() -> None:
    """The message names the setting, the host and what would do, and gives no password away."""
    with pytest.raises(BadUrl, match=r"^LEEWAY_URL \(http://h:1\) is no address of a service: give") as caught:
        Target.parse("http://u:hush@h:1/hush?hush")
    assert "hush" not in str(caught.value)


def test_a_request_is_whole() -> None:
    """A request has its method, path, host, kind, length, our headers and its body."""
    _, stub = asked(always(http()))
    (request,) = stub.requests
    lines = request.head.split("\r\n")
    assert lines[0] == "POST /x HTTP/1.1"
    assert {f"host: 127.0.0.1:{stub.target.port}", "content-type: application/json", "a: b"} <= set(lines)
    assert request.body == b"12"


def test_the_path_before_ours_is_kept() -> None:
    """A service behind a path of a larger site is asked there."""

    async def ask() -> str:
        async with stub_server(always(http())) as stub:
            client = HttpClient(Target("http", "127.0.0.1", stub.target.port, "/leeway"), 5.0)
            await client.ask("POST", "/predict")
            client.close()
            return stub.requests[0].head

    assert asyncio.run(ask()).startswith("POST /leeway/predict ")


@pytest.mark.parametrize("answer", [http(b"abcde"), CHUNKED], ids=["length", "chunks"])
def test_a_connection_is_used_again(answer: bytes) -> None:
    """Answers in one piece or in chunks are read whole, and the next request takes the same connection."""
    answers, stub = asked(always(answer), times=3)
    assert answers == [Answer(200, b"abcde")] * 3
    assert stub.connections == 1


def test_a_connection_that_ends_is_not_used_again() -> None:
    """Where the server says that it closes, the next request has a connection of its own."""
    _, stub = asked(always(http(headers="connection: close\r\n")), times=3)
    assert stub.connections == 3


def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the server may be closing just now is not taken."""
    monkeypatch.setattr(traffic_http, "KEEP_S", -1.0)
    _, stub = asked(always(http()), times=3)
    assert stub.connections == 3


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    """The time given bounds the whole request."""
    started_s = time.monotonic()
    with pytest.raises(TimeoutError):
        asked(always(None), timeout_s=0.1)
    assert time.monotonic() - started_s < 2


def test_a_late_answer_is_nobody_elses() -> None:
    """After a request that was given up, the next one has its own answer."""

    async def ask() -> Answer:
        async with stub_server(lambda request: None if request.place == 0 else http(b"second")) as stub:
            client = HttpClient(stub.target, 0.2)
            with pytest.raises(TimeoutError):
                await client.ask("POST", "/x")
            answer = await client.ask("POST", "/x")
            client.close()
            return answer

    assert asyncio.run(ask()).body == b"second"


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", http(b"12345")[:-2] + b"", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
    ids=["closed", "no HTTP", "half", "bad length"],
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    """A connection that is closed, or that speaks no HTTP, ends in an error and never in an answer."""
    with pytest.raises((BadAnswer, TimeoutError)):
        asked(always(answer), timeout_s=0.5)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer larger than we take is an error, and does not fill the memory."""
    monkeypatch.setattr(traffic_http, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(BadAnswer, match="larger"):
        asked(always(http(b"x" * 11)))


def test_nobody_there_is_an_error() -> None:
    """A port where nobody listens is an error of the operating system's."""

    async def ask() -> None:
        async with stub_server(always(http())) as stub:
            gone = stub.target
        await HttpClient(gone, 1.0).ask("GET", "/x")

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(ask())
