from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.mark.parametrize(("options", "verb"), [((), "deleted"), (("--dry-run",), "would delete")])
def test_prune_says_what_it_deleted(tmp_path: Path, options: tuple[str, ...], verb: str) -> None:
    """One line with each count."""
    url = f"sqlite:///{tmp_path / 'leeway.db'}"
    done = CliRunner().invoke(app, ["log", "prune", "--keep", "90d", "--database-url", url, *options])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{verb} 0 predictions, 0 labels, 0 rejection counts, 0 drift runs from before ")


@pytest.mark.parametrize("length", ["90", "0d", "-1d", "9999999d", "soon"])
def test_an_invalid_length_is_an_error(length: str) -> None:
    """Exit code 2 and what is allowed."""
    done = CliRunner().invoke(app, ["log", "prune", f"--keep={length}"])
    assert (done.exit_code, done.stderr.startswith(f"leeway: --keep {length!r} is not a valid length")) == (2, True)


def test_an_unreachable_database_is_an_error() -> None:
    """Exit code 2 and one line."""
    done = CliRunner().invoke(
        app, ["log", "prune", "--keep", "1d", "--database-url", "postgresql+psycopg://leeway@127.0.0.1:1/leeway"]
    )
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
