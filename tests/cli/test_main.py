from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

HEAVY = ["pandas", "numpy", "sklearn", "onnxruntime", "fastapi", "evidently", "sqlalchemy", "opentelemetry", "httpx2"]
WIDE = {"COLUMNS": "200", "TERM": "dumb"}
RUNNER = CliRunner()


def help_of(*command: str) -> str:
    """What `leeway COMMAND --help` says."""
    result = RUNNER.invoke(app, [*command, "--help"], env=WIDE)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_imports_nothing_heavy() -> None:
    """`leeway --help` answers at once: none of the heavy libraries is imported for it."""
    code = (
        "import sys; from cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print('imported:', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("imported: []")


def test_ingest_imports_no_training() -> None:
    """`leeway ingest` waits for neither pandas nor scikit-learn."""
    heavy = {"pandas", "sklearn", "onnxruntime"}
    code = f"import sys; import cli.ingest; print('imported:', sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "imported: []"


@pytest.mark.parametrize("command", ["ingest", "train", "serve", "traffic", "faults", "demo", "doctor"])
def test_every_command_is_listed(command: str) -> None:
    """`leeway --help` names each command."""
    assert command in help_of()


def test_help_documents_exit_codes() -> None:
    """`leeway --help` says what the exit codes mean."""
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
        ("serve", "LEEWAY_SPOOL", "var/spool.db"),
        ("serve", "LEEWAY_RECORDING", "available"),
        ("traffic", "LEEWAY_URL", "http://127.0.0.1:8000"),
        ("doctor", "LEEWAY_URL", "http://127.0.0.1:8000"),
        ("doctor", "LEEWAY_REPORTS_URL", "http://127.0.0.1:8001"),
    ],
)
def test_help_shows_variable_and_default(command: str, variable: str, default: str) -> None:
    """A flag's help names the variable that it stands for, and the default."""
    assert f"[{variable}; default {default}]" in " ".join(help_of(command).replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["serve"], {"LEEWAY_PORT": "http"}, "LEEWAY_PORT='http': "),
        (["serve"], {"LEEWAY_SPOOL_LIMIT": "much"}, "LEEWAY_SPOOL_LIMIT='much': give a number of bytes"),
        (["serve", "--recording", "never"], {}, "LEEWAY_RECORDING='never' (given as a flag): "),
        (["serve", "--port", "99999"], {}, "LEEWAY_PORT='99999' (given as a flag): "),
        (["serve"], {"LEEWAY_BUNDLE": "nowhere/at/all"}, ""),
    ],
)
def test_settings_that_cannot_be_used_are_said_plainly(
    arguments: list[str], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    """A setting that cannot be used ends any command with exit code 2 and its plain message, no traceback."""
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


def test_settings_error_is_one_line() -> None:
    """The message of a setting that cannot be used is one line on standard error, and nothing on standard output."""
    result = RUNNER.invoke(app, ["serve", "--port", "99999"], env={"COLUMNS": "40"})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("leeway: LEEWAY_PORT='99999'")
    assert result.stderr.count("\n") == 1


def test_an_unknown_command_is_bad_input() -> None:
    """A command that does not exist ends with exit code 2."""
    assert RUNNER.invoke(app, ["nonsense"]).exit_code == 2


def test_no_command_shows_the_help() -> None:
    """`leeway` alone says what there is."""
    assert "ingest" in RUNNER.invoke(app, [], env=WIDE).output
