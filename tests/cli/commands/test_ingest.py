from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.snapshots import open_snapshots
from leeway.data.population import population
from tests.cli.extracts import write_extract

USAGE = "usage_agg_30d.csv"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'data' / 'leeway.db'}"


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    """A month-end extract of twenty customers."""
    return write_extract(tmp_path / "extract", population(customers=20))


def ingest(folder: Path, database_url: str, as_of: str = "2024-01-31", *options: str) -> Result:
    """Run `leeway ingest`."""
    arguments = ["--as-of", as_of, str(folder), "--database-url", database_url, *options]
    return CliRunner().invoke(app, ["ingest", *arguments])


def dates(database_url: str) -> list[date]:
    """The ingested months."""
    return open_snapshots(database_url).dates()


def test_the_output_says_what_was_loaded(extract: Path, database_url: str) -> None:
    """A valid extract is loaded, with its numbers of customers and labels."""
    result = ingest(extract, database_url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Loaded 20 customers as of 2024-01-31, with 20 labels." in result.stdout
    assert dates(database_url) == [date(2024, 1, 31)]


def test_a_spreadsheets_format_is_read(extract: Path, database_url: str) -> None:
    """Semicolons are recognized and said; decimal commas need their option, which the message names."""
    for file in extract.glob("*.csv"):
        file.write_text(file.read_text().replace(",", ";").replace(".", ","))
    rejected = ingest(extract, database_url)
    assert rejected.exit_code == 2
    assert "numbers in this format are read with --decimal ," in rejected.stderr
    result = ingest(extract, database_url, "2024-01-31", "--decimal", ",")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Note: the separator is ';'.\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--separator", ";;"), "--separator ';;' is not one character; for a tab write tab"),
        (("--thousands", "x"), "--thousands 'x' is not one sign"),
        (("--decimal", ",", "--thousands", ","), "--decimal and --thousands cannot be the same sign"),
    ],
)
def test_an_impossible_format_is_an_error(
    extract: Path, database_url: str, options: tuple[str, ...], reason: str
) -> None:
    """Nothing is read."""
    result = ingest(extract, database_url, "2024-01-31", *options)
    assert (result.exit_code, reason in result.stderr) == (2, True)


def test_ignored_files_are_named_once(extract: Path, database_url: str) -> None:
    """Known files without features are ignored and named once."""
    (extract / "users.csv").write_text("user_id,user_gender\n")
    assert ingest(extract, database_url).stdout.count("users.csv") == 1


def test_labels_are_optional(extract: Path, database_url: str) -> None:
    """An extract without labels is loaded, and the output says so."""
    (extract / "labels.csv").unlink()
    assert "without labels" in ingest(extract, database_url).stdout


def test_months_are_kept_by_date(extract: Path, database_url: str) -> None:
    """Another date is another month; the same date replaces it."""
    for as_of in ("2024-01-31", "2024-02-29", "2024-01-31"):
        assert ingest(extract, database_url, as_of).exit_code == 0
    assert dates(database_url) == [date(2024, 1, 31), date(2024, 2, 29)]
    assert len(open_snapshots(database_url).read(date(2024, 1, 31))) == 20


def test_an_invalid_value_loads_nothing(extract: Path, database_url: str) -> None:
    """An invalid value ends with exit code 2 and its file, line, column and value; nothing is loaded."""
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
    """A missing folder ends with exit code 2 and its name."""
    result = ingest(tmp_path / "nowhere", database_url)
    assert (result.exit_code, "nowhere" in result.stderr) == (2, True)


@pytest.mark.parametrize("as_of", ["31.1.2024", "2024-13-01", "soon", ""])
def test_an_invalid_date_is_an_error(extract: Path, database_url: str, as_of: str) -> None:
    """A date must be like 2024-01-31."""
    result = ingest(extract, database_url, as_of)
    assert (result.exit_code, "--as-of" in result.stderr) == (2, True)


@pytest.mark.parametrize("url", ["nonsense", "postgresql+psycopg://u@127.0.0.1:1/d"])
def test_an_unreachable_database_is_an_error(extract: Path, url: str) -> None:
    """An unreachable database or an invalid URL ends with exit code 2 and one plain line."""
    result = ingest(extract, url)
    assert result.exit_code == 2
    assert result.stderr.startswith("leeway: ")
    assert result.stderr.count("\n") == 1
