from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app

HEAVY = ["pandas", "numpy", "sklearn", "onnxruntime", "fastapi", "evidently", "sqlalchemy", "opentelemetry", "httpx2"]
WIDE = {"COLUMNS": "200", "TERM": "dumb"}
RUNNER = CliRunner()


def walk(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (Typer's own type is private)
    """Each command and group, by what is typed after `leeway`."""
    yield name, command
    for each in getattr(command, "commands", {}).values():
        yield from walk(each, f"{name} {each.name}".strip())


COMMANDS = dict(walk(typer.main.get_command(app)))


def examples_of(command: Any) -> list[str]:  # noqa: ANN401 (as above)
    """The example commands at the end of a help text."""
    lines = (command.epilog or "").splitlines()
    several = [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]
    return [each for each in several if each.startswith("leeway ") and "COMMAND" not in each]


def help_of(*command: str, columns: int = 200) -> str:
    """The text of `leeway COMMAND --help`."""
    result = RUNNER.invoke(app, [*command, "--help"], env=WIDE | {"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def test_help_imports_nothing_heavy() -> None:
    """`leeway --help` is fast: it imports none of the heavy libraries."""
    code = (
        "import sys; from cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print('imported:', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("imported: []")


def test_ingest_imports_no_training() -> None:
    """`leeway ingest` imports neither pandas nor scikit-learn."""
    heavy = {"pandas", "sklearn", "onnxruntime"}
    code = (
        f"import sys; import cli.commands.ingest, cli.snapshots; print('imported:', sorted({heavy} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "imported: []"


@pytest.mark.parametrize("command", ["ingest", "train", "serve", "traffic", "faults", "demo", "doctor"])
def test_every_command_is_listed(command: str) -> None:
    """`leeway --help` names each command."""
    assert command in help_of()


def test_help_documents_exit_codes() -> None:
    """`leeway --help` documents the exit codes."""
    assert "0 done, 1 failed, 2 bad input or settings" in " ".join(help_of().split())


@pytest.mark.parametrize(
    ("command", "variable", "default"),
    [
        ("ingest", "LEEWAY_DATABASE_URL", "sqlite:///var/leeway.db"),
        ("train", "LEEWAY_DATABASE_URL", "sqlite:///var/leeway.db"),
        ("train", "LEEWAY_BUNDLE", "var/bundle"),
        ("serve", "LEEWAY_HOST", "127.0.0.1"),
        ("serve", "LEEWAY_PORT", "8000"),
        ("serve", "LEEWAY_BUNDLE", "var/bundle"),
        ("serve", "LEEWAY_SPOOL", "var/spool"),
        ("serve", "LEEWAY_RECORDING", "available"),
        ("traffic", "LEEWAY_URL", "http://127.0.0.1:8000"),
        ("doctor", "LEEWAY_URL", "http://127.0.0.1:8000"),
        ("doctor", "LEEWAY_REPORTS_URL", "http://127.0.0.1:8001"),
    ],
)
def test_help_shows_variable_and_default(command: str, variable: str, default: str) -> None:
    """A flag's help has its variable and default."""
    assert f"[{variable}; default {default}]" in " ".join(help_of(command).replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["serve"], {"LEEWAY_PORT": "http"}, "LEEWAY_PORT='http': "),
        (
            ["serve"],
            {"LEEWAY_SPOOL_LIMIT": "much"},
            "LEEWAY_SPOOL_LIMIT='much': must be a number of bytes",
        ),
        (["serve", "--recording", "never"], {}, "LEEWAY_RECORDING='never' (given as a flag): "),
        (["serve", "--port", "99999"], {}, "LEEWAY_PORT='99999' (given as a flag): "),
        (["serve"], {"LEEWAY_BUNDLE": "nowhere/at/all"}, ""),
    ],
)
def test_invalid_settings_are_errors(
    arguments: list[str], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    """An invalid setting ends any command with exit code 2 and a plain message, no traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "LEEWAY_PORT": "0", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_settings_error_is_one_line() -> None:
    """The message of an invalid setting is one line on standard error, with nothing on standard output."""
    result = RUNNER.invoke(app, ["serve", "--port", "99999"], env={"COLUMNS": "40"})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("leeway: LEEWAY_PORT='99999'")
    assert result.stderr.count("\n") == 1


def test_invalid_settings_are_explained() -> None:
    """The message says what the setting means."""
    result = RUNNER.invoke(app, ["drift", "worker"], env={"LEEWAY_DRIFT_WINDOW": "5m"})
    assert "Meaning: Length of the current window in seconds" in result.stderr


def test_an_invalid_date_is_an_error() -> None:
    """An invalid date ends with exit code 2 and an example of a valid one."""
    result = RUNNER.invoke(app, ["ingest", "--as-of", "31.1.2024", "."])
    assert result.exit_code == 2
    assert "'31.1.2024' is not a date: give one like 2024-01-31" in result.stderr


def test_database_passwords_are_redacted() -> None:
    """The message names the database and the setting, and not the password."""
    url = "postgresql+psycopg://somebody:secret@127.0.0.1:1/leeway"
    result = RUNNER.invoke(app, ["train", "--database-url", url])
    assert result.exit_code == 2
    assert "somebody:***@127.0.0.1:1/leeway" in result.stderr
    assert "LEEWAY_DATABASE_URL" in result.stderr
    assert "secret" not in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    """`leeway --version` prints the installed version."""
    assert RUNNER.invoke(app, ["--version"]).output == f"leeway {version('leeway')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str) -> None:
    """At 80 columns no line of a help text is cut short, and each flag has a description."""
    told = help_of(*name.split(), columns=80)
    lines = [line.removesuffix(" COMMAND [ARGS]...") for line in told.splitlines()]
    assert [line for line in lines if len(line) > 80 or line.endswith("...")] == []
    assert [option.name for option in COMMANDS[name].params if not getattr(option, "help", "")] == []


@pytest.mark.parametrize("example", [line for command in COMMANDS.values() for line in examples_of(command)])
def test_examples_are_valid(example: str) -> None:
    """Each example of a help text uses existing commands and flags."""
    words = shlex.split(example, comments=True)[1:]
    name = max((each for each in COMMANDS if words[: len(each.split())] == each.split()), key=len)
    context = COMMANDS[name].make_context(name, words[len(name.split()) :])
    assert context.params


@pytest.mark.parametrize(("typed", "offered"), [("leeway dri", "drift"), ("leeway drift wor", "worker")])
def test_the_shell_completes_commands(typed: str, offered: str) -> None:
    """Shell completion offers the commands that begin with the typed letters."""
    asked = {"_LEEWAY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    completed = RUNNER.invoke(app, [], env=asked, prog_name="leeway")
    assert completed.output.split() == [offered]


def test_an_unknown_command_is_an_error() -> None:
    """A command that does not exist ends with exit code 2."""
    assert RUNNER.invoke(app, ["nonsense"]).exit_code == 2


def test_no_command_shows_the_help() -> None:
    """`leeway` alone shows the help."""
    assert "ingest" in RUNNER.invoke(app, [], env=WIDE).output
