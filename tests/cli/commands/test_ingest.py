from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.commands.ingest import open_snapshots
from cli.main import app
from leeway.data.population import population
from tests.cli.extracts import write_extract

USAGE = "usage_agg_30d.csv"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'data' / 'leeway.db'}"


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    """A month-end extract of twenty customers."""
    return write_extract(tmp_path / "extract", population(customers=20))


def ingest(folder: Path, database_url: str, as_of: str = "2024-01-31") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["ingest", "--as-of", as_of, str(folder), "--database-url", database_url])


def dates(database_url: str) -> list[date]:
    """Which months are there."""
    return open_snapshots(database_url).dates()


def test_says_what_was_loaded(extract: Path, database_url: str) -> None:
    """A good extract is loaded, and the command says how many customers and labels."""
    result = ingest(extract, database_url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Loaded 20 customers as of 2024-01-31, with 20 labels." in result.stdout
    assert dates(database_url) == [date(2024, 1, 31)]


def test_names_what_was_passed_over_once(extract: Path, database_url: str) -> None:
    """Known files that hold no features are passed over, and named once."""
    (extract / "users.csv").write_text("user_id,user_gender\n")
    assert ingest(extract, database_url).stdout.count("users.csv") == 1


def test_labels_may_be_absent(extract: Path, database_url: str) -> None:
    """An extract without labels is loaded, and that is said."""
    (extract / "labels.csv").unlink()
    assert "without labels" in ingest(extract, database_url).stdout


def test_second_month_stands_beside_the_first(extract: Path, database_url: str) -> None:
    """Another date is another month; the same date again replaces it."""
    for as_of in ("2024-01-31", "2024-02-29", "2024-01-31"):
        assert ingest(extract, database_url, as_of).exit_code == 0
    assert dates(database_url) == [date(2024, 1, 31), date(2024, 2, 29)]
    assert len(open_snapshots(database_url).read(date(2024, 1, 31))) == 20


def test_a_bad_value_is_named_and_nothing_loaded(extract: Path, database_url: str) -> None:
    """A bad value ends with exit code 2, and names file, line, column and value; nothing is loaded."""
    lines = (extract / USAGE).read_text().splitlines()
    cells = lines[4].split(",")
    lines[4] = ",".join([cells[0], "many", *cells[2:]])
    (extract / USAGE).write_text("\n".join(lines) + "\n")
    result = ingest(extract, database_url)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"leeway: {USAGE}, line 5, column watch_hours_30d: 'many' must be a number")
    assert result.stderr.count("\n") == 1
    assert dates(database_url) == []


def test_a_missing_file_is_named(extract: Path, database_url: str) -> None:
    """An extract without one of its files ends with exit code 2 and the file's name."""
    (extract / USAGE).unlink()
    result = ingest(extract, database_url)
    assert (result.exit_code, USAGE in result.stderr) == (2, True)


def test_a_missing_folder_is_named(tmp_path: Path, database_url: str) -> None:
    """A folder that is not there ends with exit code 2 and its name."""
    result = ingest(tmp_path / "nowhere", database_url)
    assert (result.exit_code, "nowhere" in result.stderr) == (2, True)


@pytest.mark.parametrize("as_of", ["31.1.2024", "2024-13-01", "soon", ""])
def test_a_date_that_is_none_is_refused(extract: Path, database_url: str, as_of: str) -> None:
    """A date must be one, as in 2024-01-31."""
    result = ingest(extract, database_url, as_of)
    assert (result.exit_code, "--as-of" in result.stderr) == (2, True)


@pytest.mark.parametrize("url", ["nonsense", "postgresql+psycopg://u@127.0.0.1:1/d"])
def test_a_database_that_is_not_there_is_said(extract: Path, url: str) -> None:
    """A database that cannot be reached, or an address that is none, ends with exit code 2 in one plain line."""
    result = ingest(extract, url)
    assert result.exit_code == 2
    assert result.stderr.startswith("leeway: ")
    assert result.stderr.count("\n") == 1
