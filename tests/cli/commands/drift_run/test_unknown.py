from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import app
from leeway.model.manifest import MANIFEST
from tests.cli.commands.drift_run.place import CALM, RUNNER, Place


def test_a_month_that_was_never_ingested_is_unknown(place: Place) -> None:
    """Both lines are printed, the reason lists the loaded months, and the exit code is 1."""
    result = place.run("2025-12-31", CALM)
    first, second = result.stdout.splitlines()
    assert "drift_share=n/a -> UNKNOWN no snapshots as of 2025-12-31; loaded: 2026-01-31, " in first
    assert second == ("[Leeway] quality unknown, covariate unknown, prediction unknown, performance unknown -> UNKNOWN")
    assert result.exit_code == 1


def test_unknown_is_a_document_too(place: Place) -> None:
    """With `--json` what could not be compared is told in the same shape."""
    result = place.run("2025-12-31", CALM, "--json")
    document = json.loads(result.stdout)
    assert (document["schema"], document["decision"], document["share"]) == (1, "UNKNOWN", None)
    assert result.exit_code == 1


@pytest.mark.parametrize("windows", [("2026-01-31", CALM), ("bundle", "live")], ids=["months", "live"])
def test_a_damaged_bundle_says_so(place: Place, tmp_path: Path, windows: tuple[str, str]) -> None:
    """Nothing is judged by a bundle that cannot be trusted: UNKNOWN, and which file it is."""
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for file in place.bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / MANIFEST).write_text("{")
    result = place.run(*windows, "--quiet", bundle=damaged)
    assert "UNKNOWN" in result.stdout.splitlines()[0]
    assert str(damaged) in result.stdout.splitlines()[0]
    assert result.exit_code == 1


def test_live_without_a_bundle_says_what_to_do(place: Place, tmp_path: Path) -> None:
    """There is nothing to compare with: UNKNOWN, and train first."""
    result = place.run("bundle", "live", bundle=tmp_path / "none")
    assert "-> UNKNOWN" in result.stdout
    assert "train" in result.stdout
    assert result.exit_code == 1


def test_a_folder_that_cannot_be_written_is_said(place: Place, tmp_path: Path) -> None:
    """One plain line on standard error, no traceback, exit code 1."""
    (tmp_path / "file").write_text("")
    where = ("--database-url", place.database_url, "--bundle", str(place.bundle))
    command = ["drift", "run", "--reference", "2026-01-31", "--current", CALM, "--report-dir", str(tmp_path / "file")]
    result = RUNNER.invoke(app, [*command, *where])
    assert result.exit_code == 1
    assert result.stderr.startswith("leeway: ")
    assert str(tmp_path / "file") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "yesterday", "--current", CALM], "'yesterday' is no date: give YYYY-MM-DD twice, or"),
        (["--reference", "2026-02-30", "--current", CALM], "'2026-02-30' is no date"),
        (["--reference", "bundle", "--current", CALM], "'bundle' is no date"),
        (["--reference", "2026-01-31", "--current", "live"], "'live' is no date"),
        (["--reference", "bundle", "--current", "live", "--window", "soon"], "'soon' is no length of time"),
        (["--reference", "bundle", "--current", "live", "--window", "0s"], "'0s' is no length of time"),
        (["--reference", "bundle", "--current", "live", "--window", "-1h"], "'-1h' is no length of time"),
        (["--reference", "bundle", "--current", "live", "--window", "999999999d"], "at most a year"),
    ],
)
def test_nonsense_is_refused_in_plain_words(place: Place, arguments: list[str], message: str) -> None:
    """Exit code 2, one line on standard error, nothing on standard output."""
    where = ("--database-url", place.database_url, "--bundle", str(place.bundle))
    result = RUNNER.invoke(app, ["drift", "run", *arguments, *where])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
