from __future__ import annotations

import shutil
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.snapshots import open_snapshots
from leeway.data import population as built_in
from leeway.data.population import AS_OF, population
from leeway.model import bundle as bundles
from tests.cli.extracts import write_extract


class Installation:
    """A folder for a database and a bundle."""

    def __init__(self, folder: Path) -> None:
        self.database_url = f"sqlite:///{folder / 'leeway.db'}"
        self.bundle = folder / "models" / "bundle"

    def setup(self, extract: Path | None = None) -> Result:
        """Run `leeway setup`."""
        flags = [] if extract is None else ["--extract", str(extract)]
        command = ["setup", "--database-url", self.database_url, "--bundle", str(self.bundle), *flags]
        return CliRunner().invoke(app, command)

    def dates(self) -> list[date]:
        """The ingested months."""
        return open_snapshots(self.database_url).dates()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An empty installation."""
    return Installation(tmp_path)


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of 600 customers; the second has no labels."""
    folder = tmp_path_factory.mktemp("extract")
    write_extract(folder / "2025-03-31", population(customers=600))
    write_extract(folder / "2025-04-30", population(customers=600, month=1), labelled=False)
    return folder


@pytest.fixture(scope="module")
def complete(extract: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation after `leeway setup` with the extract."""
    made = Installation(tmp_path_factory.mktemp("complete"))
    result = made.setup(extract)
    assert result.exit_code == 0, result.output
    return made


def test_customers_and_a_model_are_created(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an extract the built-in population is loaded (here a part of it), and a model is trained on it."""
    monkeypatch.setattr(built_in, "population", partial(population, customers=600))
    result = installation.setup()
    assert result.exit_code == 0, result.output
    assert "Generated 600 customers as of 2024-01-31." in result.stdout
    assert installation.dates() == [AS_OF]
    assert bundles.load(installation.bundle).card.trained_on.as_of == AS_OF.isoformat()


def test_an_extract_replaces_the_population(complete: Installation) -> None:
    """Every month of the extract is loaded, no customers are generated, and the first labelled month is trained on."""
    assert complete.dates() == [date(2025, 3, 31), date(2025, 4, 30)]
    assert bundles.load(complete.bundle).card.trained_on.as_of == "2025-03-31"


def test_setup_again_keeps_the_model(complete: Installation, extract: Path) -> None:
    """An existing model is not trained again: its version stays."""
    version = bundles.load(complete.bundle).version
    result = complete.setup(extract)
    assert result.exit_code == 0, result.output
    assert bundles.load(complete.bundle).version == version


def test_a_folder_without_a_date_is_an_error(installation: Installation, tmp_path: Path) -> None:
    """A month's folder with another name is an error that says how to name it, and nothing is loaded."""
    write_extract(tmp_path / "in" / "march", population(customers=20))
    result = installation.setup(tmp_path / "in")
    assert result.exit_code == 2
    assert "march: name each month's folder by its date, like 2024-01-31" in result.stderr
    assert installation.dates() == []


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_months_is_an_error(installation: Installation, tmp_path: Path, name: str) -> None:
    """With an empty or absent folder, the built-in population is not used silently."""
    (tmp_path / "empty").mkdir()
    result = installation.setup(tmp_path / name)
    assert result.exit_code == 2
    assert "contains no months" in result.stderr


def test_months_without_labels_are_an_error(installation: Installation, tmp_path: Path) -> None:
    """If no month has labels, the message says what is missing."""
    write_extract(tmp_path / "in" / "2025-03-31", population(customers=20), labelled=False)
    result = installation.setup(tmp_path / "in")
    assert result.exit_code == 2
    assert "no month has labels: add labels.csv" in result.stderr


def test_a_damaged_model_is_not_replaced(complete: Installation, extract: Path, tmp_path: Path) -> None:
    """A bundle that fails its check stops the setup with the reason: a person should look at it."""
    damaged = Installation(tmp_path)
    shutil.copytree(complete.bundle, damaged.bundle)
    (damaged.bundle / "model.onnx").write_bytes(b"")
    result = damaged.setup(extract)
    assert result.exit_code == 2
    assert "model.onnx" in result.stderr


def test_setup_creates_delta_tables(complete: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With LEEWAY_LOG, and what exists is kept."""
    pytest.importorskip("deltalake")
    monkeypatch.setenv("LEEWAY_LOG", f"delta:{tmp_path / 'lake'}")
    assert [complete.setup().exit_code for _ in range(2)] == [0, 0]
    assert sorted(each.name for each in (tmp_path / "lake").iterdir()) == ["prediction_labels", "predictions"]
