"""`leeway keys`, and the commands that call a service which needs a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.doctor import endpoints, service
from cli.main import app
from leeway.keys import KeyRing, Scope, add_key
from leeway.model.bundle import Bundle
from leeway.settings import DoctorSettings
from tests.service.processes import environment, running

RUNNER = CliRunner()


def keys(file: Path, *arguments: str) -> Result:
    """Run `leeway keys` on this file."""
    return RUNNER.invoke(app, ["keys", *arguments], env={"LEEWAY_API_KEYS_FILE": str(file)})


def test_a_key_is_printed_once_and_works(tmp_path: Path) -> None:
    """The list shows its name, its id, its date and its scopes, and not the key."""
    file = tmp_path / "keys.json"
    added = keys(file, "add", "shop", "--scope", "predict", "--scope", "feedback")
    key = added.stdout.strip()
    assert added.exit_code == 0
    assert KeyRing(file).find(key.encode()) == ("shop", frozenset({Scope.PREDICT, Scope.FEEDBACK}))
    listed = keys(file, "list").stdout
    assert listed.startswith(f"shop  {key[:15]}_…  20")
    assert listed.endswith("feedback, predict\n")
    assert key not in listed


def test_a_key_can_be_revoked(tmp_path: Path) -> None:
    """By its name."""
    file = tmp_path / "keys.json"
    key = keys(file, "add", "shop", "--scope", "operate").stdout.strip()
    assert keys(file, "revoke", "shop").stdout == "revoked shop\n"
    assert (keys(file, "list").stdout, KeyRing(file).find(key.encode())) == ("", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "shop"),
        ("add", "shop", "--scope", "everything"),
        ("add", "a b", "--scope", "predict"),
        ("list",),
        ("revoke", "shop"),
    ],
)
def test_bad_input_has_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A missing or unknown scope, an invalid name, a missing file, an unknown key."""
    done = keys(tmp_path / "keys.json", *arguments)
    assert (done.exit_code, "Traceback" in done.output) == (2, False)


@dataclass
class Locked:
    """A running service that needs keys, and a key with all scopes."""

    url: str
    key: str

    def run(self, *arguments: str, key: str | None) -> Result:
        """Run a command with this key."""
        given = {} if key is None else {"LEEWAY_API_KEY": key}
        return RUNNER.invoke(app, arguments, env={"LEEWAY_URL": self.url, "COLUMNS": "200", "TERM": "dumb", **given})


@pytest.fixture(scope="module")
def locked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """One service for all tests of this module."""
    folder = tmp_path_factory.mktemp("locked")
    key = add_key(folder / "keys.json", "all", list(Scope))
    env = environment(bundle, folder, LEEWAY_API_KEYS_FILE=str(folder / "keys.json"), LEEWAY_FAULTS="on")
    with running(folder, env) as server:
        assert server.url
        yield Locked(server.url, key)


TRAFFIC = ("traffic", "--rate", "30", "--duration", "1", "--mix", "0/1/1", "--labels", "--label-delay", "0.1")


def test_traffic_sends_the_key(locked: Locked) -> None:
    """With all its requests; without one it says what to set."""
    done = locked.run(*TRAFFIC, key=locked.key)
    assert done.exit_code == 0, done.output
    rejected = locked.run(*TRAFFIC, key=None)
    assert rejected.exit_code == 2
    assert "set LEEWAY_API_KEY to a key with the scopes predict, feedback and operate" in rejected.stderr


@pytest.mark.parametrize("wrong", [None, "lw_000000000000_x"])
def test_faults_send_the_key(locked: Locked, wrong: str | None) -> None:
    """Without a valid one the command says what to set."""
    assert "No faults are active" in locked.run("faults", "status", key=locked.key).stdout
    rejected = locked.run("faults", "status", key=wrong)
    assert rejected.exit_code == 2
    assert "rejects the API key: set LEEWAY_API_KEY to a key with the scope operate" in rejected.stderr


def test_doctor_sends_the_key(locked: Locked) -> None:
    """To the service and to the reports page, and to nobody else."""
    result, info = service.inspect(locked.url, 5, locked.key)
    assert (result.state, info is not None) == ("ok", True)
    assert info is not None
    assert service.predict(locked.url, info, 5, locked.key)[0].state == "ok"
    assert service.predict(locked.url, info, 5)[0].next_step == service.KEY
    assert service.inspect(locked.url, 5)[0].next_step == service.KEY
    given = {each.check: each.api_key for each in endpoints.endpoints(DoctorSettings.read(api_key="x"))}
    assert {check for check, key in given.items() if key is not None} == {"drift worker"}
