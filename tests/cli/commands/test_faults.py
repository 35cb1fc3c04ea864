from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx2
import pytest
from typer.testing import CliRunner, Result

from cli.commands.faults import KINDS, in_words
from cli.commands.faults_request import FaultsError, ask
from cli.http import Target
from cli.main import app
from leeway.model.bundle import Bundle
from service.core.faults import FAULTS, MAX_SECONDS
from tests.service.processes import Server, closed_port, environment, eventually, running

RUNNER = CliRunner()
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that allows faults."""
    folder = tmp_path_factory.mktemp("faults")
    with running(folder, environment(bundle, folder, LEEWAY_FAULTS="on")) as started:
        assert started.url
        yield started


@pytest.fixture
def free(server: Server) -> Iterator[Server]:
    """The same, with nothing in force before and after."""
    httpx2.delete(f"{server.url}/faults").raise_for_status()
    yield server
    httpx2.delete(f"{server.url}/faults").raise_for_status()


def faults(url: str, *arguments: str) -> Result:
    """Run `leeway faults`, told by the environment where the service is."""
    return RUNNER.invoke(app, ["faults", *arguments], env={"LEEWAY_URL": url, "COLUMNS": "200", "TERM": "dumb"})


def in_force(server: Server) -> object:
    """What the service says."""
    return httpx2.get(f"{server.url}/faults").raise_for_status().json()["faults"]


# --- what it does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--slow-scoring", "80"], {"slow_scoring": {"milliseconds": 80, "probability": 1}}),
        (
            ["--slow-snapshots", "200", "--slow-snapshots-probability", "0.5"],
            {"slow_snapshots": {"milliseconds": 200, "probability": 0.5}},
        ),
        (["--no-snapshots", "--errors", "0.05"], {"no_snapshots": True, "errors": {"probability": 0.05}}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_faults_are_switched_on(free: Server, flags: list[str], expected: object) -> None:
    """What the flags name is in force in the service."""
    assert faults(free.url, "on", *flags).exit_code == 0
    assert in_force(free) == expected


def test_faults_are_switched_off(free: Server) -> None:
    """`off` leaves none in force, and says so."""
    faults(free.url, "on", "--no-snapshots")
    done = faults(free.url, "off")
    assert (done.exit_code, done.stdout) == (0, f"No faults are in force at {free.url}.\n")
    assert in_force(free) == {}


def test_status_tells_what_is_in_force(free: Server) -> None:
    """`status` says which faults, how strong, and for how long yet."""
    faults(free.url, "on", "--slow-scoring", "80", "--slow-scoring-probability", "0.5", "--for", "120")
    done = faults(free.url, "status")
    first, second = done.stdout.splitlines()
    assert done.exit_code == 0
    assert f"{free.url} for 1" in first
    assert second.split() == ["slow", "scoring", "80", "ms", "longer,", "in", "50", "%", "of", "the", "calls"]


def test_the_flag_goes_before_the_variable(free: Server) -> None:
    """`--url` names the service where the environment names another."""
    assert faults(f"http://127.0.0.1:{closed_port()}", "status", "--url", free.url).exit_code == 0


def test_a_fault_ends_by_itself_in_the_log(free: Server) -> None:
    """A second later the running service has ended it and said so, though nobody asked anything."""
    before = sum("expired" in str(entry["message"]) for entry in free.log())
    faults(free.url, "on", "--no-snapshots", "--for", "1")
    assert eventually(lambda: sum("expired" in str(entry["message"]) for entry in free.log()) == before + 1)


def test_every_fault_has_words() -> None:
    """Each fault that the service knows is told in words."""
    assert tuple(KINDS) == FAULTS


def test_what_always_strikes_is_said_so() -> None:
    """A share of one is every call."""
    state = {"faults": {"no_snapshots": True, "errors": {"probability": 1.0}}, "seconds_left": 5.2}
    assert [line.split("  ")[-1].strip() for line in in_words(state, HERE)[1:]] == ["in every call", "in every call"]


# --- where it cannot ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that allows none."""
    folder = tmp_path_factory.mktemp("strict")
    with running(folder, environment(bundle, folder)) as started:
        assert started.url
        yield started


@pytest.mark.parametrize("command", [["on", "--no-snapshots"], ["status"], ["off"]], ids=lambda command: command[0])
def test_a_service_that_allows_none_is_named(strict: Server, command: list[str]) -> None:
    """Exit code 2, and one line that says how to allow them."""
    done = faults(strict.url, *command)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{strict.url} allows no faults" in done.stderr
    assert "LEEWAY_FAULTS=on leeway serve" in done.stderr


def test_a_service_that_is_not_there_is_named() -> None:
    """Exit code 2, and one line that says why, and what to do."""
    url = f"http://127.0.0.1:{closed_port()}"
    done = faults(url, "status")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"{url} cannot be reached (Connection refused)" in done.stderr
    assert "LEEWAY_URL" in done.stderr


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """A web server that is not Leeway: it answers 404 to all."""

    class Handler(BaseHTTPRequestHandler):
        """Knows nothing."""

        def do_GET(self) -> None:
            """Say so."""
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stranger_is_no_service_without_faults(stranger: str) -> None:
    """Whoever answers, but not as Leeway does, is told apart from a service that allows none."""
    done = faults(stranger, "status")
    assert done.exit_code == 2
    assert "not as Leeway does (404)" in done.stderr


def test_silence_is_said() -> None:
    """Where no answer comes in time, the message says that faults end by themselves."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(FaultsError, match=r"does not answer within 0\.1 s.*end by themselves"),
    ):
        ask(Target("http", "127.0.0.1", listener.getsockname()[1]), "DELETE", wait_s=0.1)


def test_what_the_service_refuses_is_told_in_its_words(free: Server) -> None:
    """A value beyond its limits ends with exit code 2 and the service's reason."""
    done = faults(free.url, "on", "--no-snapshots", "--for", f"{MAX_SECONDS + 1}")
    assert done.exit_code == 2
    assert done.stderr == "leeway: Invalid input: seconds must be at most 3600.\n"


@pytest.mark.parametrize(
    ("flags", "named"),
    [([], "--no-snapshots"), (["--slow-scoring-probability", "0.5"], "add --slow-scoring")],
    ids=["nothing", "half"],
)
def test_a_fault_must_be_named(flags: list[str], named: str) -> None:
    """`on` without a fault, or with half of one, says what is missing, whether a service is there or not."""
    done = faults(HERE, "on", *flags)
    assert done.exit_code == 2
    assert named in done.stderr


def test_an_address_that_is_none_is_said() -> None:
    """A URL without http ends with exit code 2 and what one looks like."""
    done = faults("localhost:8000", "status")
    assert done.exit_code == 2
    assert "http://127.0.0.1:8000" in done.stderr


def test_help_says_how_to_allow_them() -> None:
    """`leeway faults --help` names the variable that allows faults, and the exit codes."""
    said = faults(HERE, "--help").stdout
    assert "LEEWAY_FAULTS=on" in said
    assert "Exit codes: 0 done, 2" in said


def test_help_shows_how_much_and_how_long() -> None:
    """`leeway faults on --help` gives an example and the limits of the time."""
    said = " ".join(faults(HERE, "on", "--help").stdout.split())
    assert "leeway faults on --slow-scoring 80" in said
    assert f"1 to {MAX_SECONDS:g}" in said
