from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from typer.testing import CliRunner, Result

from cli.commands.faults import FAULT_NAMES, FaultsError, describe, request_faults
from cli.http import ServiceAddress
from cli.main import app
from leeway.model.bundle import Bundle
from service.core.faults import FAULTS, MAX_SECONDS
from tests.cli.stub_server import json_server
from tests.service.processes import Server, closed_port, environment, eventually, running, silent_listener

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
    """The same, without active faults before and after."""
    httpx2.delete(f"{server.url}/faults").raise_for_status()
    yield server
    httpx2.delete(f"{server.url}/faults").raise_for_status()


def faults(url: str, *arguments: str) -> Result:
    """Run `leeway faults` with LEEWAY_URL set."""
    return RUNNER.invoke(app, ["faults", *arguments], env={"LEEWAY_URL": url, "COLUMNS": "200", "TERM": "dumb"})


def active(server: Server) -> object:
    """The service's active faults."""
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
    """The faults of the flags are active in the service."""
    assert faults(free.url, "on", *flags).exit_code == 0
    assert active(free) == expected


def test_faults_are_switched_off(free: Server) -> None:
    """`off` ends all faults, and says so."""
    faults(free.url, "on", "--no-snapshots")
    done = faults(free.url, "off")
    assert (done.exit_code, done.stdout) == (0, f"No faults are active at {free.url}.\n")
    assert active(free) == {}


def test_status_shows_active_faults(free: Server) -> None:
    """`status` shows the faults, their strength, and their remaining time."""
    faults(free.url, "on", "--slow-scoring", "80", "--slow-scoring-probability", "0.5", "--for", "120")
    done = faults(free.url, "status")
    first, second = done.stdout.splitlines()
    assert done.exit_code == 0
    assert f"{free.url} for another 1" in first
    assert second.split() == ["slow", "scoring", "80", "ms", "delay,", "in", "50", "%", "of", "the", "calls"]


def test_the_flag_takes_precedence(free: Server) -> None:
    """`--url` takes precedence over LEEWAY_URL."""
    assert faults(f"http://127.0.0.1:{closed_port()}", "status", "--url", free.url).exit_code == 0


def test_a_fault_ends_by_itself_in_the_log(free: Server) -> None:
    """After its time the running service ends it and logs that, without any request."""
    before = sum("expired" in str(entry["message"]) for entry in free.log())
    faults(free.url, "on", "--no-snapshots", "--for", "1")
    assert eventually(lambda: sum("expired" in str(entry["message"]) for entry in free.log()) == before + 1)


def test_every_fault_has_words() -> None:
    """Each fault of the service has a readable name."""
    assert tuple(FAULT_NAMES) == FAULTS


def test_certain_faults_are_described() -> None:
    """A share of one is every call."""
    state = {"faults": {"no_snapshots": True, "errors": {"probability": 1.0}}, "seconds_left": 5.2}
    assert [line.split("  ")[-1].strip() for line in describe(state, HERE)[1:]] == ["in every call", "in every call"]


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that allows none."""
    folder = tmp_path_factory.mktemp("strict")
    with running(folder, environment(bundle, folder)) as started:
        assert started.url
        yield started


@pytest.mark.parametrize("command", [["on", "--no-snapshots"], ["status"], ["off"]], ids=lambda command: command[0])
def test_a_service_without_faults_is_an_error(strict: Server, command: list[str]) -> None:
    """Exit code 2, and one line that says how to allow them."""
    done = faults(strict.url, *command)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{strict.url} does not allow faults" in done.stderr
    assert "LEEWAY_FAULTS=on leeway serve" in done.stderr


def test_an_unreachable_service_is_an_error() -> None:
    """Exit code 2, and one line with the reason and what to do."""
    url = f"http://127.0.0.1:{closed_port()}"
    done = faults(url, "status")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"is unreachable: nothing listens at {url}" in done.stderr
    assert "LEEWAY_URL" in done.stderr


def test_another_server_is_recognized() -> None:
    """Another web server is distinguished from a service that does not allow faults."""
    with json_server({}) as other:
        done = faults(other.url, "status")
    assert done.exit_code == 2
    assert "is not a Leeway service (status 404)" in done.stderr


def test_a_timeout_is_an_error() -> None:
    """Without an answer in time, the message says that faults end by themselves."""
    with (
        silent_listener(accepts=False) as url,
        pytest.raises(FaultsError, match=r"does not answer .* within 0\.1 s.*end by themselves"),
    ):
        request_faults(ServiceAddress.parse(url), "DELETE", timeout_s=0.1)


def test_rejections_have_the_services_reason(free: Server) -> None:
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
    """`on` without a fault, or with half of one, says what is missing, before any request."""
    done = faults(HERE, "on", *flags)
    assert done.exit_code == 2
    assert named in done.stderr


def test_an_invalid_address_is_an_error() -> None:
    """A URL without http ends with exit code 2 and an example of a valid one."""
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
