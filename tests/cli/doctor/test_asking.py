from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Timer

import pytest

from cli.doctor.asking import Deadline, EndpointError, ask, clock_ahead_s
from tests.cli.doctor.backends import babbler, backend, trickler
from tests.service.processes import closed_port, silent_listener

SOON_S = 0.3


def test_an_answer_is_taken_as_it_comes() -> None:
    """Status and body, whatever the status is."""
    with backend({"/x": (503, {"a": 1})}) as there:
        answer = ask(there.url, "/x", 5)
    assert (answer.status, answer.document()) == (503, {"a": 1})


def test_what_is_asked_goes_as_json_with_its_headers() -> None:
    """A body makes it a POST that says what it holds."""
    with backend({"/x": (200, {})}) as there:
        ask(there.url, "/x", 5, body={"b": 2}, headers={"leeway-synthetic": "true"})
    ((path, headers),) = there.asked
    assert (path, headers["content-type"], headers["leeway-synthetic"]) == ("/x", "application/json", "true")


def test_an_address_may_have_a_path() -> None:
    """A backend behind a proxy is asked below its path."""
    with backend({"/tools/prometheus/x": (200, {})}) as there:
        assert ask(f"{there.url}/tools/prometheus/", "/x", 5).status == 200


@pytest.mark.parametrize("body", ["<html>", "[1, 2]", ""])
def test_what_is_no_document_is_said(body: str) -> None:
    """A page, a list or nothing is not what was asked for."""
    with backend({"/": (200, body)}) as there, pytest.raises(EndpointError, match="not as it should"):
        ask(there.url, "/", 5).document()


def error_of(url: str, timeout_s: float = 5) -> str:
    """Why nobody answers there."""
    with pytest.raises(EndpointError) as caught:
        ask(url, "/", timeout_s)
    return str(caught.value)


def test_a_closed_port_is_said() -> None:
    """Nobody listens: with the address, so that one sees which."""
    port = closed_port()
    assert error_of(f"http://127.0.0.1:{port}") == f"is not there: nobody listens at http://127.0.0.1:{port}"


def test_an_unknown_host_is_said() -> None:
    """A name of the compose network, asked for from elsewhere, looks like this."""
    assert "names a host that is not known here" in error_of("http://prometheus.invalid:9090")


def test_one_who_never_answers_is_given_up() -> None:
    """After the time that an answer may take, and no later."""
    began_s = time.monotonic()
    with silent_listener(accepts=True) as url:
        assert error_of(url, SOON_S) == f"does not answer at {url} within {SOON_S:g} s"
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "sent_at_once",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"],
    ids=["head", "body", "body to the end"],
)
def test_one_who_answers_byte_by_byte_is_given_up(sent_at_once: bytes) -> None:
    """The time is that of the whole answer: a server that always has one more byte does not get more of it."""
    answer = sent_at_once + b"x" * 100 if sent_at_once else b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100
    began_s = time.monotonic()
    with trickler(answer, every_s=0.02, at_once=len(sent_at_once)) as url:
        assert error_of(url, SOON_S) == f"does not answer at {url} within {SOON_S:g} s"
    assert time.monotonic() - began_s < 3 * SOON_S


def test_another_program_is_told_from_a_silent_one() -> None:
    """Something else has the port."""
    with babbler() as url:
        assert "speaks no HTTP" in error_of(url)


def test_an_address_that_is_none_is_said() -> None:
    """With what one looks like."""
    assert "give one like http://" in error_of("prometheus:9090")


@pytest.mark.parametrize("ahead_s", [-3_600, 0, 90])
def test_a_clock_is_read_off_an_answer(ahead_s: int) -> None:
    """To a second: that is how HTTP tells the time."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    with backend({"/": (200, {})}, date=date) as there:
        assert ask(there.url, "/", 5).clock_ahead_s == pytest.approx(ahead_s, abs=1.0)


@pytest.mark.parametrize("date", [None, "", "tomorrow"])
def test_who_does_not_tell_the_time_is_not_guessed_at(date: str | None) -> None:
    """No date, or none that can be read, is no skew."""
    assert clock_ahead_s(date, 0.0) is None


def test_patience_ends_with_what_it_waits_for() -> None:
    """As soon as there is something, it is returned; False is something."""
    seen = iter([None, None, False])
    patience = Deadline(10)
    assert patience.wait_for(lambda: next(seen)) is False
    assert patience.waited_s < 5


def test_patience_ends() -> None:
    """What never comes is None, after the time that was given."""
    patience = Deadline(SOON_S)
    assert patience.wait_for(lambda: None) is None
    assert SOON_S <= patience.waited_s < 5


def test_one_patience_may_outlast_the_other() -> None:
    """What takes longer is waited for longer, from the same beginning."""
    patience = Deadline(0.0)
    longer = patience.of(SOON_S)
    seen = iter([None, None, True])
    assert patience.wait_for(lambda: None) is None
    assert longer.wait_for(lambda: next(seen)) is True
    assert longer.waited_s == pytest.approx(patience.waited_s, abs=0.05)


def test_patience_can_be_given_up() -> None:
    """Ctrl-C does not wait for what is on its way."""
    patience = Deadline(60)
    giving_up = Timer(0.05, patience.give_up)
    giving_up.start()
    assert patience.wait_for(lambda: None) is None
    assert patience.of(90).wait_for(lambda: None) is None
    giving_up.join()
    assert patience.waited_s < 5
