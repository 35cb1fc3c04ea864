"""The model that the benchmarks share, and requests for it."""

import json
from datetime import date
from pathlib import Path

from cli.snapshots import open_snapshots
from cli.training import churn_origin, labelled_month, month_data
from leeway.data.population import population
from leeway.model.training import train
from leeway.store.snapshots import Snapshots

AS_OF = date(2024, 1, 31)


def make_bundle(folder: Path) -> None:
    """Load the built-in population into a SQLite file in the folder, `leeway.db`, and train a model on it."""
    snapshots = load_population(f"sqlite:///{folder / 'leeway.db'}")
    train(month_data(labelled_month(snapshots, AS_OF)), folder / "bundle", churn_origin(AS_OF))


def load_population(database_url: str) -> Snapshots:
    """Load the built-in population's first month into a database."""
    people, snapshots = population(), open_snapshots(database_url)
    snapshots.ingest(AS_OF, people.user_ids, people.columns, people.labels)
    return snapshots


def requests(count: int) -> list[bytes]:
    """Bodies of single requests, with the features of customers of the population."""
    people = population()
    return [json.dumps({"features": people.row(place % len(people))}).encode() for place in range(count)]


def requests_by_customer(count: int) -> list[bytes]:
    """Bodies of single requests, with the ids of customers of the population."""
    people = population()
    return [json.dumps({"user_id": people.user_ids[place % len(people)]}).encode() for place in range(count)]
