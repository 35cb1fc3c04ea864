"""`leeway setup`: what has to be there before the service starts: tables, customers, a model."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from cli.commands.ingest import load_extract, open_snapshots
from cli.commands.train import card_table, churn_origin, month_data
from cli.options import console, plain_errors
from leeway.data.csv_table import TableError
from leeway.data.population import AS_OF, population
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle, BundleError
from leeway.model.training import TrainingError, train
from leeway.settings import SetupSettings
from leeway.shutdown import interrupt_on_stop_signal
from leeway.store.engine import DatabaseError
from leeway.store.snapshots import Snapshots


def run_setup(settings: SetupSettings) -> None:
    """Make what is missing and keep what is there, so that it can be run at every start."""
    with plain_errors(TableError, DatabaseError, TrainingError, BundleError), interrupt_on_stop_signal():
        snapshots = open_snapshots(settings.database_url)
        if settings.extract:
            for as_of, folder in months(settings.extract).items():
                load_extract(folder, as_of, lambda: snapshots)
        elif AS_OF not in snapshots.dates():
            people = population()
            count = snapshots.ingest(AS_OF, people.user_ids, people.columns, people.labels)
            print(f"Made up {count:,} customers as of {AS_OF}.")
        bundle = bundles.load(settings.bundle) if settings.bundle.exists() else _train(snapshots, settings.bundle)
    console().print(card_table(bundle))
    print(f"Ready: model {bundle.version}, trained on {bundle.card.trained_on.as_of}, in {bundle.folder}")


def months(folder: Path) -> dict[date, Path]:
    """The extracts in `folder`, one sub-folder a month, named by its date; oldest first.

    Raises:
        TableError: there is none, or a sub-folder's name is no date.
    """
    found: dict[date, Path] = {}
    for each in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
        try:
            found[date.fromisoformat(each.name)] = each
        except ValueError as error:
            raise TableError("name each month's folder by its date, like 2024-01-31", file=str(each)) from error
    if not found:
        raise TableError("no month found; LEEWAY_EXTRACT names a folder with folders like 2024-01-31", file=str(folder))
    return found


def _train(snapshots: Snapshots, folder: Path) -> Bundle:
    """Train on the first labelled month, so that every later one can be compared with it."""
    for as_of in sorted(snapshots.dates()):
        month = snapshots.read(as_of)
        if month.labels is not None:
            return train(month_data(month), folder, churn_origin(as_of))
    raise TrainingError("no month has labels: add labels.csv to one of the extracts")
