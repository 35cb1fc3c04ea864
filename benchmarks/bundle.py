"""The model that the benchmarks share, and requests for it."""

import json
from datetime import date
from pathlib import Path

from cli.snapshots import open_snapshots
from cli.training import churn_origin, labelled_month, month_data
from leeway.data.population import population
from leeway.model.training import train

AS_OF = date(2024, 1, 31)


def make_bundle(folder: Path, database: str | None = None) -> None:
    """Load the built-in population into `database` (default: SQLite in the folder) and train a model on it."""
    people = population()
    snapshots = open_snapshots(database or f"sqlite:///{folder / 'leeway.db'}")
    snapshots.ingest(AS_OF, people.user_ids, people.columns, people.labels)
    train(month_data(labelled_month(snapshots, AS_OF)), folder / "bundle", churn_origin(AS_OF))


def requests(count: int) -> list[bytes]:
    """Bodies of single requests, with the features of customers of the population."""
    people = population()
    return [json.dumps({"features": people.row(place % len(people))}).encode() for place in range(count)]


def requests_by_customer(count: int) -> list[bytes]:
    """Bodies of single requests, with the ids of customers of the population."""
    people = population()
    return [json.dumps({"user_id": people.user_ids[place % len(people)]}).encode() for place in range(count)]
