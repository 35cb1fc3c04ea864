"""`leeway setup`: what the service needs before it starts: tables, customers, a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cli.options import BundleFolder, DatabaseUrl, console, plain_errors, setting
from leeway.settings import SetupSettings

if TYPE_CHECKING:
    from leeway.model.bundle import Bundle


def setup(
    extract: Annotated[Path | None, setting(SetupSettings, "extract")] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Create what the service needs and does not have yet: tables, customers, a model.

    With LEEWAY_LOG=delta:… it creates the Delta tables of the prediction log as well. What exists is kept, so it can
    run at every start.
    """
    from cli.training import card_table
    from leeway.data.csv_table import TableError
    from leeway.model.manifest import BundleError
    from leeway.model.training import TrainingError
    from leeway.shutdown import interrupt_on_stop_signal
    from leeway.store.delta import create_delta_tables
    from leeway.store.engine import DatabaseError, opened_engine

    settings = SetupSettings.read(extract=extract, database_url=database_url, bundle=bundle)
    with plain_errors(TableError, DatabaseError, TrainingError, BundleError), interrupt_on_stop_signal():
        settings.check_log()
        made = _set_up(settings)
        if settings.delta:
            with opened_engine(settings.database_url) as engine:
                create_delta_tables(settings.delta, engine, made.schema)
    console().print(card_table(made))
    print(f"Ready: model {made.version}, trained on {made.card.trained_on.as_of}, in {made.folder}")


def _set_up(settings: SetupSettings) -> Bundle:
    from cli.snapshots import load_extract, months, open_snapshots
    from cli.training import churn_origin, month_data
    from leeway.data.population import AS_OF, population
    from leeway.model import bundle as bundles
    from leeway.model.training import TrainingError, train

    snapshots = open_snapshots(settings.database_url)
    if settings.extract:
        for as_of, folder in months(settings.extract).items():
            load_extract(folder, as_of, lambda: snapshots)
    elif AS_OF not in snapshots.dates():
        people = population()
        count = snapshots.ingest(AS_OF, people.user_ids, people.columns, people.labels)
        print(f"Generated {count:,} customers as of {AS_OF}.")
    if settings.bundle.exists():
        return bundles.load(settings.bundle)
    for as_of in sorted(snapshots.dates()):  # the first labelled month, so that every later one can be compared with it
        month = snapshots.read(as_of)
        if month.labels is not None:
            return train(month_data(month), settings.bundle, churn_origin(as_of))
    raise TrainingError("no month has labels: add labels.csv to one of the extracts")
