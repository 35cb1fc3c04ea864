import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from drift.webhook import Webhook
from tests.drift.documents import a_result


@contextmanager
def receiver(statuses: list[int], location: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver that answers with these statuses in turn, the last one for ever; yields its address and what came.

    With a `location` its answers name one.
    """
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(statuses[min(len(came), len(statuses)) - 1])
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def do_GET(self) -> None:
            came.append({"type": None, "path": self.path})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_change_is_posted_as_a_cloud_event() -> None:
    """The receiver gets one CloudEvents 1.0 document with the run's id, both recommendations and the reason."""
    with receiver([204]) as (url, came):
        hook = Webhook(url, source="http://reports")
        hook.notify(a_result(), previous="NO_ACTION")
        hook.close()
    (event,) = came
    assert event["type"] == "io.leeway.drift.recommendation.changed"
    assert (event["specversion"], event["id"], event["source"]) == (
        "1.0",
        a_result().run_id,
        "http://reports",
    )
    assert (event["data"]["previous"], event["data"]["recommendation"]) == ("NO_ACTION", "INVESTIGATE")


def test_a_failing_receiver_is_tried_three_times() -> None:
    """Two failures and a success deliver the event, with growing pauses between the tries."""
    pauses: list[float] = []
    with receiver([500, 503, 200]) as (url, came):
        hook = Webhook(url, source="s", pause=pauses.append)
        hook.notify(a_result(), previous=None)
        hook.close()
    assert len(came) == 3
    assert pauses == [1.0, 2.0]


def test_after_three_failures_the_event_is_given_up_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that never takes it costs three tries and one line in the log."""
    with receiver([500]) as (url, came), caplog.at_level(logging.ERROR):
        hook = Webhook(url, source="s", pause=lambda _s: None)
        hook.notify(a_result(), previous=None)
        hook.close()
    assert len(came) == 3
    assert "was not delivered in 3 tries" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_delivers_nothing(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else is asked, which would be a GET without the event; each try fails, and the log says so."""
    caplog.set_level(logging.ERROR)
    with receiver([200]) as (inside, asked), receiver([status], location=inside) as (url, came):
        hook = Webhook(url, source="s", pause=lambda _s: None)
        hook.notify(a_result(), previous=None)
        hook.close(10)
    assert (len(came), asked) == (3, [])
    assert "was not delivered in 3 tries" in caplog.text


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the way out leads through a proxy, an event takes it."""
    with receiver([200]) as (proxy, came):
        monkeypatch.setenv("http_proxy", proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        hook = Webhook("http://hooks.invalid/x", source="s")
        hook.notify(a_result(), previous=None)
        hook.close(10)
    assert [event["id"] for event in came] == [a_result().run_id]


def test_one_run_is_told_once() -> None:
    """The same run told again is no new event."""
    with receiver([200]) as (url, came):
        hook = Webhook(url, source="s")
        hook.notify(a_result(), previous=None)
        hook.notify(a_result(), previous=None)
        hook.close()
    assert len(came) == 1


def test_who_tells_is_never_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """With a dead receiver, telling 150 changes returns at once; those too many are given up, and said so."""
    release = threading.Event()
    hook = Webhook("http://127.0.0.1:9", source="s", pause=lambda _s: release.wait(10))
    with caplog.at_level(logging.ERROR):
        for number in range(150):
            hook.notify(a_result(run_id=f"0195{number:04x}-0000-7000-8000-{number:012x}"), previous=None)
    assert "events are waiting" in caplog.text
    release.set()
    while hook._waiting.full():
        time.sleep(0.01)
    hook.close(timeout_s=10)


def test_an_address_that_is_none_is_refused_at_the_start() -> None:
    """A typing error is found when the worker starts, not when it matters."""
    with pytest.raises(ValueError, match=r"LEEWAY_WEBHOOK_URL=ftp://x: give an address like https://"):
        Webhook("ftp://x", source="s")


def test_an_address_that_is_refused_is_not_told_whole() -> None:
    """User name, path and query of a webhook are what makes it work: they are secrets."""
    with pytest.raises(ValueError, match=r"LEEWAY_WEBHOOK_URL=ftp://hooks\.example:") as caught:
        Webhook("ftp://u:hush@hooks.example/hush?token=hush", source="s")
    assert "hush" not in str(caught.value)
