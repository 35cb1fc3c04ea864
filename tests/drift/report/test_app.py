"""The reports over real HTTP on a loopback port."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from drift.report import app
from drift.report.app import Address, ReportsPageError, serve_reports
from drift.report.folder import ReportFolder, replace_file
from leeway.keys import KeyRing, Scope, add_key
from tests.drift.documents import NOON, a_run, run_id

HOST = "127.0.0.1"
BIG = 4_500_000


def a_folder(path: Path) -> ReportFolder:
    """Two runs ten minutes apart, the first with a report as large as Evidently's, and a single comparison."""
    made = ReportFolder(path / "reports", trace_url="http://127.0.0.1:16686/trace")
    made.write(a_run(0), lambda path: path.write_bytes(b"x" * BIG), lambda path: path.write_text("{}"))
    made.write(a_run(10))
    replace_file(made.path / "drift_a_vs_b.html", lambda path: path.write_text("<p>"))
    (path / "secret.json").write_text("secret")
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ReportFolder:
    """A folder that tests only read."""
    return a_folder(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def site(folder: ReportFolder) -> Iterator[Address]:
    """The folder, served."""
    with serve_reports(folder, HOST, 0, metrics_text=lambda: b"up 1\n") as address:
        yield address


def ask(
    site: Address, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[HTTPResponse, bytes]:
    """One request, sent as it is written here; its answer and body."""
    connection = HTTPConnection(HOST, site.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        (f"/runs/{run_id(0)}/", "text/html; charset=utf-8"),
        (f"/runs/{run_id(0)}/index.html", "text/html; charset=utf-8"),
        (f"/runs/{run_id(0)}/report.html", "text/html; charset=utf-8"),
        (f"/runs/{run_id(0)}/report.json", "application/json"),
        (f"/runs/{run_id(10)}/result.json?x=1", "application/json"),
        ("/drift_a_vs_b.html", "text/html; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_every_page_has_its_type_and_its_length(site: Address, path: str, content_type: str) -> None:
    """Each address has its content type; HEAD returns the same headers and no body."""
    answer, body = ask(site, path)
    head, nothing = ask(site, path, "HEAD")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert int(answer.headers["Content-Length"]) == len(body) > 0
    assert (head.status, head.headers["Content-Length"], nothing) == (200, str(len(body)), b"")


def test_index_is_current(tmp_path: Path) -> None:
    """The page shows a run that was just written, also if the index file is older."""
    folder = ReportFolder(tmp_path)
    folder.write_index()
    with serve_reports(folder, HOST, 0) as site:
        folder.write(a_run(20))
        assert run_id(20).encode() in ask(site, "/")[1]


def test_run_page_is_that_run(site: Address) -> None:
    """A run's page shows its window and links to its reports and its trace."""
    page = ask(site, f"/runs/{run_id(0)}/")[1].decode()
    assert "1 Mar 2026, 11:45–12:00 UTC" in page
    assert 'href="report.html"' in page
    assert 'href="http://127.0.0.1:16686/trace/' in page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB"])
def test_only_reading_is_allowed(site: Address, method: str) -> None:
    """Any other method is 405 and lists the allowed ones, also with a body."""
    answer, _ = ask(site, "/", method, b"x" * 1_000)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("minute", "expected"), [(-10_000, run_id(0)), (4, run_id(0)), (6, run_id(10)), (10_000, run_id(10))]
)
def test_at_leads_to_the_nearest_run(site: Address, minute: int, expected: str) -> None:
    """A time in Unix milliseconds leads to the run nearest to it."""
    at_ms = (NOON + timedelta(minutes=minute)).timestamp() * 1_000
    answer, _ = ask(site, f"/at?time={at_ms:.0f}")
    assert (answer.status, answer.headers["Location"]) == (302, f"/runs/{expected}/")


@pytest.mark.parametrize(
    "query", ["", "?time=", "?time=now", "?time=-5", "?time=nan", "?time=1&time=2", "?time=" + "9" * 40, "?when=1"]
)
def test_an_invalid_time_is_rejected(site: Address, query: str) -> None:
    """Anything but one Unix time in milliseconds is 400."""
    assert ask(site, f"/at{query}")[0].status == 400


def test_at_without_runs_is_not_found(tmp_path: Path) -> None:
    """Without runs there is no nearest one."""
    with serve_reports(ReportFolder(tmp_path), HOST, 0) as site:
        assert ask(site, "/at?time=1772366400000")[0].status == 404
        assert b"No run yet" in ask(site, "/")[1]
        assert ask(site, "/metrics")[0].status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.json",
        "/..%2fsecret.json",
        "/%2e%2e/secret.json",
        "//etc/passwd",
        "/etc/passwd",
        "/runs/",
        "/runs/../index.html",
        f"/runs/{run_id(0)}/../../../secret.json",
        f"/runs/{run_id(0)}/..%2f..%2f..%2fsecret.json",
        f"/runs/{run_id(0)}/report.html/",
        f"/runs/{run_id(0)}/report.html%00.json",
        f"/runs/{run_id(0)}\\..\\secret.json",
        f"/runs/{run_id(99)}/",
        f"/runs/{run_id(10)}/report.html",
        "/drift_a_vs_b.txt",
        "/drift_.._vs_%2e%2e/secret.json",
        "http://elsewhere.example/",
    ],
)
def test_other_addresses_are_not_found(site: Address, path: str) -> None:
    """Other addresses, however they are spelt, are 404 and reveal nothing."""
    answer, body = ask(site, path)
    assert answer.status == 404
    assert b"secret" not in body


def test_a_removed_run_is_not_logged(site: Address, caplog: pytest.LogCaptureFixture) -> None:
    """An old link is not a corrupt report: nothing is logged."""
    assert ask(site, f"/runs/{run_id(99)}/")[0].status == 404
    assert caplog.records == []


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link in a run's folder, or to a run or a single comparison elsewhere, is not found."""
    folder = a_folder(tmp_path)
    outside = folder.path.parent / "secret.json"
    (folder.path / "runs" / run_id(10) / "report.json").symlink_to(outside)
    (folder.path / "drift_x_vs_y.json").symlink_to(outside)
    (folder.path.parent / "elsewhere").mkdir()
    (folder.path.parent / "elsewhere" / "report.json").write_text("secret")
    (folder.path / "runs" / run_id(30)).symlink_to(folder.path.parent / "elsewhere")
    with serve_reports(folder, HOST, 0) as site:
        for path in (f"/runs/{run_id(10)}/report.json", "/drift_x_vs_y.json", f"/runs/{run_id(30)}/report.json"):
            assert ask(site, path)[0].status == 404


def test_pages_and_reports_cannot_connect_anywhere(site: Address) -> None:
    """Our pages run no script; Evidently's runs its own; neither may connect anywhere."""
    ours = ask(site, "/")[0].headers["Content-Security-Policy"]
    evidently = ask(site, f"/runs/{run_id(0)}/report.html")[0].headers["Content-Security-Policy"]
    assert "default-src 'none'" in ours
    assert "script-src" not in ours
    assert "connect-src 'none'" in evidently
    assert "http" not in ours + evidently


def test_a_client_that_sends_no_request_is_dropped(site: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent and half-sent requests, first or later ones, are closed after a time, or connections run out."""
    monkeypatch.setattr(app, "HEAD_TIMEOUT_S", 0.2)
    for sent in (b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET / HT"):
        with socket.create_connection((HOST, site.port), timeout=5) as connection:
            connection.sendall(sent)
            answer = connection.makefile("rb").read()  # until the server closes
        assert answer.startswith(b"HTTP/1.1 200") == (b"healthz" in sent)


def test_a_slow_client_does_not_block_others(site: Address) -> None:
    """While one client sends nothing and another does not read its report, a third is answered."""
    with socket.create_connection((HOST, site.port)) as silent, socket.create_connection((HOST, site.port)) as lazy:
        silent.sendall(b"GET / HT")
        lazy.sendall(f"GET /runs/{run_id(0)}/report.html HTTP/1.0\r\n\r\n".encode())
        assert ask(site, "/healthz")[1] == b"ok\n"


def test_large_report_arrives_whole(site: Address) -> None:
    """Four and a half megabytes arrive byte for byte."""
    assert ask(site, f"/runs/{run_id(0)}/report.html")[1] == b"x" * BIG


def test_a_failing_page_is_logged(folder: ReportFolder, caplog: pytest.LogCaptureFixture) -> None:
    """A failing request is a 500 and a line in the log; the server continues."""

    def fails() -> bytes:
        raise RuntimeError("no registry")

    with serve_reports(folder, HOST, 0, metrics_text=fails) as site:
        assert ask(site, "/metrics")[0].status == 500
        assert ask(site, "/healthz")[0].status == 200
    assert "no registry" in caplog.text


def test_a_port_in_use_is_an_error(folder: ReportFolder, site: Address) -> None:
    """The message names the address and the settings."""
    with (
        pytest.raises(ReportsPageError, match=rf"{HOST}:{site.port}.*LEEWAY_REPORTS_PORT"),
        serve_reports(folder, HOST, site.port),
    ):
        pass


def test_the_port_is_free_again_afterwards(folder: ReportFolder) -> None:
    """Leaving the block stops the server: its port can be used again at once."""
    with serve_reports(folder, HOST, 0) as first:
        ask(first, "/")
    with serve_reports(folder, HOST, first.port) as second:
        assert ask(second, "/healthz")[0].status == 200


@pytest.fixture(scope="module")
def locked(folder: ReportFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Address, dict[str, str]]]:
    """The folder, served to those who have a key; and the keys by name."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    keys = {"operator": add_key(file, "operator", [Scope.OPERATE]), "shop": add_key(file, "shop", [Scope.PREDICT])}
    with serve_reports(folder, HOST, 0, metrics_text=lambda: b"up 1\n", keys=KeyRing(file)) as address:
        yield address, keys


@pytest.mark.parametrize("path", ["/", "/metrics", "/at?time=0", f"/runs/{run_id(0)}/report.html", "/nowhere"])
def test_a_page_needs_a_key(locked: tuple[Address, dict[str, str]], path: str) -> None:
    """As HTTP Basic's password, which a browser asks for, or as the API does; without the scope it is rejected."""
    site, keys = locked
    basic = b64encode(f"me:{keys['operator']}".encode()).decode()
    sent = [{}, {"Authorization": f"Basic {basic}x"}, {"X-API-Key": keys["shop"]}]
    answers = [ask(site, path, headers=headers)[0] for headers in sent]
    assert [answer.status for answer in answers] == [401, 401, 403]
    assert [str(answer.headers["www-authenticate"]).startswith("Basic") for answer in answers] == [True, True, False]
    for headers in ({"Authorization": f"Basic {basic}"}, {"Authorization": f"Bearer {keys['operator']}"}):
        assert ask(site, path, headers=headers)[0].status in {200, 302, 404}


def test_health_needs_no_key(locked: tuple[Address, dict[str, str]]) -> None:
    """Compose's health check has none."""
    assert ask(locked[0], "/healthz")[0].status == 200


@pytest.mark.parametrize(("is_open", "warnings"), [(False, 1), (True, 0)])
def test_an_open_page_is_warned_of(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    is_open: bool,  # noqa: FBT001 (a parameter of the test)
    warnings: int,
) -> None:
    """Unless that is intended."""
    with (
        caplog.at_level("WARNING", "leeway.listener"),
        serve_reports(ReportFolder(tmp_path), "0.0.0.0", 0, is_open=is_open),  # noqa: S104 (what is warned of)
    ):
        assert len(caplog.messages) == warnings
