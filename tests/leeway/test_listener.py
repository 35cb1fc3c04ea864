from __future__ import annotations

import logging
import socket

import pytest

from leeway.listener import listen, url_of, warn_if_open


def is_reachable(host: str, port: int) -> bool:
    """Whether a connection to the address succeeds."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "url", "reachable"),
    [
        ("127.0.0.1", "http://127.0.0.1:", {"127.0.0.1"}),
        ("localhost", "http://127.0.0.1:", {"127.0.0.1"}),
        ("::1", "http://[::1]:", {"::1"}),
        ("[::1]", "http://[::1]:", {"::1"}),
        ("::", "http://[::]:", {"127.0.0.1", "::1"}),
        ("[::]", "http://[::]:", {"127.0.0.1", "::1"}),
    ],
)
def test_a_host_is_reachable(host: str, url: str, reachable: set[str]) -> None:
    """`::` stands for IPv4 and IPv6, brackets around an address are understood, and port 0 takes a free one."""
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url_of(listener) == f"{url}{port}"
        assert {each for each in ("127.0.0.1", "::1") if is_reachable(each, port)} == reachable


def test_https_is_in_the_url() -> None:
    """With a certificate."""
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener, "https").startswith("https://127.0.0.1:")


def test_a_taken_port_is_an_error() -> None:
    """The message names the address, the reason and the setting."""
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(.*in use\).*LEEWAY_REPORTS_PORT"):
            listen("127.0.0.1", port, variables="LEEWAY_REPORTS")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_unusable_host_is_an_error(host: str) -> None:
    """The message names it and the setting."""
    with pytest.raises(OSError, match="cannot listen on") as raised:
        listen(host, 0)
    assert f"{host}:0" in str(raised.value)
    assert "LEEWAY_HOST" in str(raised.value)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)])  # noqa: S104 (what is warned of)
def test_an_open_server_is_warned_of(host: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001 (a parameter of the test)
    """If other machines may reach it; the message names both ways to end it."""
    with listen(host, 0) as listener, caplog.at_level(logging.WARNING, "leeway.listener"):
        warn_if_open(listener, "the API")
    assert bool(caplog.messages) == warned
    assert all("LEEWAY_API_KEYS_FILE" in each and "LEEWAY_ALLOW_ANONYMOUS=on" in each for each in caplog.messages)
