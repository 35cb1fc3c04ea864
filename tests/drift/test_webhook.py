import io
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
from leeway.telemetry.logs import configure_logging
from tests.drift.documents import a_run, run_id


@contextmanager
def receiver(statuses: list[int], location: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver that answers with these statuses, then always with the last one; yields its address and its requests.

    With a `location` its answers name one.
    """
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(statuses[min(len(received), len(statuses)) - 1])
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def do_GET(self) -> None:
            received.append({"type": None, "path": self.path})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_change_is_posted_as_a_cloud_event() -> None:
    """The receiver gets one CloudEvents 1.0 document with the run's id, both recommendations and the reason."""
    with receiver([204]) as (url, received):
        hook = Webhook(url, source="http://reports")
        hook.notify(a_run(), previous="RETRAIN")
        hook.close()
    (event,) = received
    assert event["type"] == "io.leeway.drift.recommendation.changed"
    assert (event["specversion"], event["id"], event["source"]) == (
        "1.0",
        run_id(0),
        "http://reports",
    )
    assert (event["data"]["previous"], event["data"]["recommendation"]) == ("RETRAIN", "NO_ACTION")


def test_a_failing_receiver_is_tried_three_times() -> None:
    """Two failures and a success deliver the event, with growing pauses between the tries."""
    pauses: list[float] = []
    with receiver([500, 503, 200]) as (url, received):
        hook = Webhook(url, source="s", pause=pauses.append)
        hook.notify(a_run(), previous=None)
        hook.close()
    assert len(received) == 3
    assert pauses == [1.0, 2.0]


def test_after_three_failures_the_event_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Three tries and one line in the log."""
    with receiver([500]) as (url, received), caplog.at_level(logging.ERROR):
        hook = Webhook(url, source="s", pause=lambda _s: None)
        hook.notify(a_run(), previous=None)
        hook.close()
    assert len(received) == 3
    assert "was not delivered in 3 tries" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The new address is not requested; each try fails, and the log says so."""
    caplog.set_level(logging.ERROR)
    with receiver([200]) as (inside, redirected), receiver([status], location=inside) as (url, received):
        hook = Webhook(url, source="s", pause=lambda _s: None)
        hook.notify(a_run(), previous=None)
        hook.close(10)
    assert (len(received), redirected) == (3, [])
    assert "was not delivered in 3 tries" in caplog.text


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event goes through the proxy of the environment."""
    with receiver([200]) as (proxy, received):
        monkeypatch.setenv("http_proxy", proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        hook = Webhook("http://hooks.invalid/x", source="s")
        hook.notify(a_run(), previous=None)
        hook.close(10)
    assert [event["id"] for event in received] == [run_id(0)]


def test_one_run_is_posted_once() -> None:
    """The same run again is not a new event."""
    with receiver([200]) as (url, received):
        hook = Webhook(url, source="s")
        hook.notify(a_run(), previous=None)
        hook.notify(a_run(), previous=None)
        hook.close()
    assert len(received) == 1


def test_notify_never_blocks(caplog: pytest.LogCaptureFixture) -> None:
    """With an unreachable receiver 150 notifications return at once; those too many are dropped and logged."""
    release = threading.Event()
    hook = Webhook("http://127.0.0.1:9", source="s", pause=lambda _s: release.wait(10))
    with caplog.at_level(logging.ERROR):
        for number in range(150):
            hook.notify(a_run(number), previous=None)
    assert "events are waiting" in caplog.text
    release.set()
    while hook._waiting.full():
        time.sleep(0.01)
    hook.close(timeout_s=10)


def test_an_invalid_address_is_rejected_at_the_start() -> None:
    """A typing error is found when the worker starts."""
    with pytest.raises(ValueError, match=r"LEEWAY_WEBHOOK_URL=ftp://x: give an address like https://"):
        Webhook("ftp://x", source="s")


def test_a_rejected_address_is_redacted() -> None:
    """User name, path and query of a webhook are secrets."""
    with pytest.raises(ValueError, match=r"LEEWAY_WEBHOOK_URL=ftp://hooks\.example:") as caught:
        Webhook("ftp://u:hush@hooks.example/hush?token=hush", source="s")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 500])
def test_a_delivery_logs_no_secret(status: int) -> None:
    """Neither a delivered nor a failed event writes the user name, path or query of the address to the log."""
    text = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    configure_logging(stream=text)
    try:
        with receiver([status]) as (url, events):
            hook = Webhook(f"{url.replace('//', '//hush:hush@')}/hush?token=hush", source="s", pause=lambda _s: None)
            hook.notify(a_run(), previous=None)
            hook.close(timeout_s=10)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert len(events) == (1 if status == 204 else 3)
    assert "hush" not in text.getvalue()
