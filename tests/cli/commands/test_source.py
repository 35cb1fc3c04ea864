from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from drift.sources.mapping import MAPPING_FILE, mapping_text
from tests.cli.commands.test_drift import EVIDENTLY_LINE, LEEWAY_LINE
from tests.drift.sources import tables

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SQLite source and its mapping."""
    folder = tmp_path_factory.mktemp("shop")
    tables.sqlite_file(folder / "shop.db", tables.rows(drifted_country="fr"))
    (folder / MAPPING_FILE).write_text(mapping_text(tables.MAPPING, []))
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mapping is found there."""
    monkeypatch.chdir(shop)
    monkeypatch.setenv("LEEWAY_SOURCE", "sqlite:///shop.db")


def run(*arguments: str) -> Result:
    """Run `leeway`."""
    return RUNNER.invoke(app, arguments)


def compare(reference: str, *more: str) -> Result:
    """Run `leeway drift run` for November, without Evidently's page."""
    return run("drift", "run", "--reference", reference, "--current", tables.CURRENT, "--no-report", *more)


def test_a_mapping_is_proposed_and_checked(tmp_path: Path) -> None:
    """`init` writes it and reports how it understood each column; `check` finds nothing wrong."""
    out = tmp_path / "mine.yaml"
    made = run("source", "init", "--table", "scored", "--out", str(out))
    assert made.exit_code == 0, made.output
    assert "score is proba (" in made.stdout
    assert out.read_text().startswith("# time is ts (datetime)")
    checked = run("source", "check", "--mapping", str(out))
    assert (checked.exit_code, "2,440 rows" in checked.stdout) == (0, True)
    assert run("source", "init", "--out", str(out)).exit_code == 2


def test_a_problem_is_a_line(tmp_path: Path) -> None:
    """With exit code 1."""
    mapping = tmp_path / "mine.yaml"
    mapping.write_text("table: scored\ncolumns: {time: ts, score: nothing}\n")
    checked = run("source", "check", "--mapping", str(mapping))
    assert checked.exit_code == 1
    (line,) = checked.stdout.splitlines()
    assert line.startswith("sqlite:///shop.db, table scored, column nothing: there is no such column for `score`")


def test_two_periods_are_compared() -> None:
    """The two lines, exit code 3 for RETRAIN, and each feature in the table."""
    result = compare(tables.REFERENCE, "--fail-on-drift")
    assert result.exit_code == 3, result.output
    first, second = result.stdout.splitlines()[:2]
    plain = EVIDENTLY_LINE.fullmatch(first.replace("=n/a", "=none.html", 1).replace("=n/a", "=none.json", 1))
    ours = LEEWAY_LINE.fullmatch(second)
    assert plain, first
    assert ours, second
    assert (plain["decision"], ours["covariate"], ours["recommendation"]) == ("RETRAIN", "act", "RETRAIN")
    assert "basket" in result.stdout


def test_periods_are_checked() -> None:
    """A line for each period of days, with the number of rows; another kind of reference is not read."""
    both = run("drift", "check", "--reference", tables.REFERENCE, "--current", tables.CURRENT)
    assert [line.split(": ")[0] for line in both.stdout.splitlines()] == [tables.REFERENCE, tables.CURRENT]
    one = run("drift", "check", "--reference", "train.parquet", "--current", tables.CURRENT)
    assert one.stdout.splitlines() == both.stdout.splitlines()[1:]
    assert (both.exit_code, one.exit_code) == (0, 0)


@pytest.mark.parametrize(
    ("reference", "current", "code", "message"),
    [
        (tables.REFERENCE, "2031-01-01..2031-01-31", 1, "no rows in 2031-01-01T00:00"),
        (tables.REFERENCE, "live", 2, "'live' is not a period"),
        ("2026-02-01..2026-02-30", tables.CURRENT, 2, "'2026-02-01..2026-02-30'"),
    ],
)
def test_a_period_without_rows_fails_the_check(reference: str, current: str, code: int, message: str) -> None:
    """Exit code 1 for a period without rows, 2 for what is not a period."""
    result = run("drift", "check", "--reference", reference, "--current", current)
    assert (result.exit_code, result.stdout.count("live")) == (code, 0)
    assert message in result.stderr


def test_a_kept_reference_gives_the_same_result() -> None:
    """`reference make` keeps the period; the result is that of the period itself, and its JSON has the model."""
    made = run("reference", "make", "--period", tables.REFERENCE, "--out", "october")
    assert made.exit_code == 0, made.output
    assert made.stdout == "wrote october: 1,240 subjects, 5 features, model shop\n"
    kept, direct = (json.loads(compare(each, "--json").stdout) for each in ("october", tables.REFERENCE))
    assert kept["model"]["name"] == "shop"
    assert kept["current"]["from"] == "2026-11-01T00:00:00+00:00"
    different = {name for name in kept if kept[name] != direct[name]}
    assert different == {"run_id"}
    assert run("reference", "make", "--period", tables.REFERENCE, "--out", "october").exit_code == 2


def test_segments_are_listed() -> None:
    """With `--by` each value has a line after the verdicts, the worst first."""
    result = compare(tables.REFERENCE, "--by", "country")
    lines = [line for line in result.stdout.splitlines() if line.startswith("country ")]
    assert lines[0].startswith("country fr: act. ")
    assert len(lines) == 3


def test_an_empty_window_is_unknown() -> None:
    """A day without rows: exit code 1, and the reason gives both numbers."""
    result = run("drift", "run", "--reference", tables.REFERENCE, "--current", "2026-12-24", "--no-report")
    assert result.exit_code == 1
    assert "-> UNKNOWN 0 subjects are too few to compare; at least 200 are needed" in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--current", "november"), 2, "leeway: 'november' is not a period: give days like 2026-11-01..2026-11-30"),
        (("--max-rows", "100"), 1, "-> UNKNOWN sqlite:///shop.db, table scored: more than 100 rows in 2026-10-01T"),
        (("--mapping", "none.yaml"), 1, "-> UNKNOWN the mapping cannot be read"),
        (("--source", "sqlite:///none.db"), 1, "-> UNKNOWN sqlite:///none.db: there is no such file"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], code: int, message: str) -> None:
    """Bad input ends with 2; a source that cannot be compared is UNKNOWN with its reason."""
    result = compare(tables.REFERENCE, *arguments)
    assert result.exit_code == code
    assert message in result.stdout + result.stderr


def test_a_source_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to give one."""
    monkeypatch.delenv("LEEWAY_SOURCE")
    for command in (
        ("source", "check"),
        ("source", "init"),
        ("reference", "make", "--period", "2026-10-01", "--out", "x"),
    ):
        result: Any = run(*command)
        assert result.exit_code == 2
        assert "give --source (or LEEWAY_SOURCE)" in result.stderr
