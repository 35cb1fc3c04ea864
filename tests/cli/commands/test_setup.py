from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.commands.ingest import open_snapshots
from cli.main import app
from leeway.data.population import AS_OF, population
from leeway.model import bundle as bundles
from tests.cli.extracts import write_extract


class Place:
    """A new place to set up."""

    def __init__(self, folder: Path) -> None:
        self.database_url = f"sqlite:///{folder / 'leeway.db'}"
        self.bundle = folder / "models" / "bundle"

    def setup(self, extract: Path | None = None) -> Result:
        """Run the command."""
        flags = [] if extract is None else ["--extract", str(extract)]
        return CliRunner().invoke(
            app, ["setup", "--database-url", self.database_url, "--bundle", str(self.bundle), *flags]
        )

    def dates(self) -> list[date]:
        """Which months are there."""
        return open_snapshots(self.database_url).dates()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place where nothing is yet."""
    return Place(tmp_path)


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of 600 customers; the second has no labels."""
    folder = tmp_path_factory.mktemp("extract")
    write_extract(folder / "2025-03-31", population(customers=600))
    write_extract(folder / "2025-04-30", population(customers=600, month=1), labelled=False)
    return folder


def test_a_new_place_gets_customers_and_a_model(place: Place) -> None:
    """Without an extract the built-in population is loaded, and a model trained on it."""
    result = place.setup()
    assert result.exit_code == 0, result.output
    assert place.dates() == [AS_OF]
    assert bundles.load(place.bundle).card.trained_on.as_of == AS_OF.isoformat()


def test_a_second_time_keeps_what_is_there(place: Place, extract: Path) -> None:
    """A model that is there is not trained again: its version stays."""
    place.setup(extract)
    version = bundles.load(place.bundle).version
    result = place.setup(extract)
    assert result.exit_code == 0, result.output
    assert bundles.load(place.bundle).version == version


def test_an_extract_takes_the_populations_place(place: Place, extract: Path) -> None:
    """Every month of the extract is loaded, nobody is made up, and the first labelled month trains the model."""
    result = place.setup(extract)
    assert result.exit_code == 0, result.output
    assert place.dates() == [date(2025, 3, 31), date(2025, 4, 30)]
    assert bundles.load(place.bundle).card.trained_on.as_of == "2025-03-31"


def test_a_folder_that_is_no_date_is_named(place: Place, tmp_path: Path) -> None:
    """A month's folder under another name is an error that says how to name it, and nothing is loaded."""
    write_extract(tmp_path / "in" / "march", population(customers=20))
    result = place.setup(tmp_path / "in")
    assert result.exit_code == 2
    assert "march: name each month's folder by its date, like 2024-01-31" in result.stderr
    assert place.dates() == []


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_months_is_an_error(place: Place, tmp_path: Path, name: str) -> None:
    """An empty or absent folder is no silent population."""
    (tmp_path / "empty").mkdir()
    result = place.setup(tmp_path / name)
    assert result.exit_code == 2
    assert "no month found" in result.stderr


def test_months_without_labels_cannot_train(place: Place, tmp_path: Path) -> None:
    """Where no month has labels, the message says what is missing."""
    write_extract(tmp_path / "in" / "2025-03-31", population(customers=20), labelled=False)
    result = place.setup(tmp_path / "in")
    assert result.exit_code == 2
    assert "no month has labels: add labels.csv" in result.stderr


def test_a_damaged_model_is_not_painted_over(place: Place, extract: Path) -> None:
    """A bundle that fails its check stops the set-up with what is wrong: somebody should look at it."""
    place.setup(extract)
    (place.bundle / "model.onnx").write_bytes(b"")
    result = place.setup(extract)
    assert result.exit_code == 2
    assert "model.onnx" in result.stderr
