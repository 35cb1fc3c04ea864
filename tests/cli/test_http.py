from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from cli import http as module
from cli.http import BadUrl, EndpointError, NotHttp, ServiceAddress, TimedOut, Unreachable, ask, clock_ahead_s
from tests.cli.stub_server import http, json_server, stub_server
from tests.service.processes import closed_port, silent_listener

SOON_S = 0.3


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://service", "http://service:80"),
        ("https://example.org/leeway/", "https://example.org:443/leeway"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_parsed(url: str, expected: str) -> None:
    """Scheme, host, port and path prefix are read from an address; ports have defaults."""
    assert ServiceAddress.parse(url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8000", "ftp://x", "http://", "http://a:b@c", "http://x:99999"),
        *("http://x/?a", "http://x/#a", "http://x/ü", "http://x y/"),
    ],
)
def test_other_addresses_are_rejected(url: str) -> None:
    """Anything but a plain http or https address is rejected, including credentials; the message has an example."""
    with pytest.raises(BadUrl, match=r"(not a valid|not an http|must contain only).*: give one like http://127"):
        ServiceAddress.parse(url)


def test_rejected_addresses_are_redacted() -> None:
    """The message names the setting and the host, and no password."""
    with pytest.raises(BadUrl, match=r"^LEEWAY_URL \(http://h:1\) is not an http or https address") as caught:
        ServiceAddress.parse("http://u:hush@h:1/hush?hush")
    assert "hush" not in str(caught.value)


# --- requests and answers -----------------------------------------------------------------------------------------


def test_answers_have_status_and_body() -> None:
    """Status and body are returned, whatever the status is."""
    with json_server({"/x": (503, {"a": 1})}) as server:
        answer = ask(server.url, "/x", 5)
    assert (answer.status, answer.document(), answer.server) == (503, {"a": 1}, "leeway")


def test_bodies_are_sent_as_json() -> None:
    """A body makes the request a POST with its content type; a method can be given; headers are sent."""
    with json_server({"/x": (200, {})}) as server:
        ask(server.url, "/x", 5, body={"b": 2}, headers={"leeway-synthetic": "true"})
        ask(server.target, "/x", 5, method="DELETE")
    first, second = server.requests
    assert (first.method, first.path, first.body) == ("POST", "/x", b'{"b":2}')
    assert (first.headers["content-type"], first.headers["leeway-synthetic"]) == ("application/json", "true")
    assert (second.method, "content-type" in second.headers) == ("DELETE", False)


def test_the_path_prefix_is_kept() -> None:
    """A server behind a path of a larger site is asked below that path."""
    with json_server({"/tools/prometheus/x": (200, {})}) as server:
        assert ask(f"{server.url}/tools/prometheus/", "/x", 5).status == 200


@pytest.mark.parametrize("body", ["<html>", "[1, 2]", ""])
def test_a_document_is_a_json_object(body: str) -> None:
    """A page, a list or nothing is an unexpected answer."""
    with json_server({"/": (200, body)}) as server, pytest.raises(EndpointError, match="not a JSON object"):
        ask(server.url, "/", 5).document()


@pytest.mark.parametrize("headers", ["", "connection: close\r\n"])
def test_large_answers_are_cut_off(monkeypatch: pytest.MonkeyPatch, headers: str) -> None:
    """An answer above the size limit is an error, and does not fill the memory."""
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2**20)
    with (
        stub_server(lambda _: http(b"x" * (2**20 + 1), headers=headers)) as server,
        pytest.raises(EndpointError, match="sends more than 1 MiB"),
    ):
        ask(server.url, "/", 5)


# --- no answer ----------------------------------------------------------------------------------------------------


def test_a_closed_port_is_unreachable() -> None:
    """The message says that nothing listens, with the address."""
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(Unreachable) as caught:
        ask(url, "/", 5)
    assert str(caught.value) == f"is unreachable: nothing listens at {url}"


def test_an_unknown_host_is_unreachable() -> None:
    """A host name of the compose network is unknown elsewhere."""
    with pytest.raises(Unreachable, match=r"the host name in http://prometheus\.invalid:9090 is unknown"):
        ask("http://prometheus.invalid:9090", "/", 5)


def test_an_invalid_address_is_unreachable() -> None:
    """The message has an example of a valid one."""
    with pytest.raises(Unreachable, match="give one like http://"):
        ask("prometheus:9090", "/", 5)


def test_silence_ends_at_the_deadline() -> None:
    """A server that never answers is given up in time."""
    began_s = time.monotonic()
    with silent_listener(accepts=True) as url, pytest.raises(TimedOut) as caught:
        ask(url, "/", SOON_S)
    assert str(caught.value) == f"does not answer at {url} within {SOON_S:g} s"
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "at_once",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"],
    ids=["head", "body", "body until the end"],
)
def test_a_trickle_ends_at_the_deadline(at_once: bytes) -> None:
    """The deadline is that of the whole answer: a server that sends byte by byte gets no more time."""

    def trickle() -> Iterator[bytes]:
        yield at_once or b"HTTP/1.1 200 OK\r\nx: "
        yield from (b"x" for _ in range(100))

    began_s = time.monotonic()
    with stub_server(lambda _: trickle()) as server:
        with pytest.raises(TimedOut):
            ask(server.url, "/", SOON_S)
        assert time.monotonic() - began_s < 3 * SOON_S


@pytest.mark.parametrize("answer", [b"220 mail.example.org ready\r\n\r\n", b"", http(b"12345")[:-2]])
def test_other_protocols_are_recognized(answer: bytes) -> None:
    """A server that speaks another protocol, says nothing or breaks off is not an HTTP server."""
    pieces = [answer, b""]  # then it closes the connection
    with stub_server(lambda _: pieces.pop(0)) as server, pytest.raises((NotHttp, TimedOut)):
        ask(server.url, "/", 1)


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [-3_600, 0, 90])
def test_clocks_are_read_from_answers(ahead_s: int) -> None:
    """An answer's date shows how far the server's clock is ahead, to a second."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    with json_server({"/": (200, {})}, date=date) as server:
        assert ask(server.url, "/", 5).clock_ahead_s == pytest.approx(ahead_s, abs=1.0)


@pytest.mark.parametrize("date", [None, "", "tomorrow"])
def test_missing_dates_are_unknown(date: str | None) -> None:
    """No date, or an unreadable one, is no clock skew."""
    assert clock_ahead_s(date, 0.0) is None
