from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from leeway.model.bundle import Bundle
from tests.cli.traffic.commands import LIMIT_S, command, traffic
from tests.service.processes import closed_port, environment, running


def test_waits_for_the_service(bundle: Bundle, tmp_path: Path) -> None:
    """A service that starts later is waited for, and then asked."""
    port = closed_port()
    url = f"http://127.0.0.1:{port}"
    process = command(bundle, tmp_path, url, "--wait", "30", "--duration", "1", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        with running(tmp_path / "service", environment(bundle, tmp_path, LEEWAY_PORT=str(port))):
            out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert first.startswith(f"Waiting for {url}, which cannot be reached")
    assert (process.returncode, err) == (0, "")
    assert "answered, 0 errors" in out


def test_being_stopped_while_waiting_ends_at_once(bundle: Bundle, tmp_path: Path) -> None:
    """Told to stop before there is a service, it ends with a word and exit code 1."""
    url = f"http://127.0.0.1:{closed_port()}"
    process = command(bundle, tmp_path, url, "--wait", "30", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, err) == (1, "leeway: stopped before the service was there\n")


def test_nobody_there_is_said(bundle: Bundle, tmp_path: Path) -> None:
    """An address where nobody answers ends with exit code 2 and what to do."""
    code, _, err = traffic(bundle, tmp_path, f"http://127.0.0.1:{closed_port()}", "--wait", "0")
    assert code == 2
    assert re.fullmatch(r"leeway: http://\S+ cannot be reached \(.+\): start it with `leeway serve`, .*--url.*\n", err)


@pytest.mark.parametrize("kind", ["a web server", "no HTTP at all"])
def test_a_stranger_is_told_from_leeway(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    """Whoever answers and is not Leeway gets no traffic: exit code 2, at once."""

    class Handler(BaseHTTPRequestHandler):
        """Answers all with a page, or with nonsense."""

        def do_GET(self) -> None:
            """Answer."""
            if kind == "a web server":
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
            else:
                self.wfile.write(b"220 mail ready\r\n\r\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as stranger:
        Thread(target=stranger.serve_forever, kwargs={"poll_interval": 0.02}).start()
        code, _, err = traffic(bundle, tmp_path, f"http://127.0.0.1:{stranger.server_port}", "--wait", "20")
        stranger.shutdown()
    assert (code, "answers, but not as Leeway does" in err) == (2, True)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--mix", "1/2"), "three weights"),
        (("--mix", "0/0/0"), "not all of them 0"),
        (("--mix", "1/nan/1"), "finite"),
        (("--rate", "nan"), "--rate"),
        (("--duration", "inf"), "finite"),
        (("--drift", "1.1"), "--drift"),
        (("--concept-drift", "1"), "add --labels"),
        (("--url", "ftp://x"), "no address"),
        (("--users", "no/such/file"), "cannot be read"),
    ],
)
def test_flags_that_make_no_sense_are_said(bundle: Bundle, tmp_path: Path, flags: tuple[str, ...], reason: str) -> None:
    """A flag that cannot be used ends with exit code 2 and a word on what would do, before anybody is asked."""
    code, _, err = traffic(bundle, tmp_path, f"http://127.0.0.1:{closed_port()}", *flags)
    assert (code, reason in err, "Traceback" in err) == (2, True, False), err
