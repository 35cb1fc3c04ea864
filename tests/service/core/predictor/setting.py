"""A predictor, and all that it works with, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from leeway.data.population import Population
from leeway.schema import CHURN_SCHEMA, FeatureRow, Value
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from service.core.predictor import (
    PredictionRequest,
    Predictor,
)
from service.spool.spool import SpoolError
from tests.fakes import RememberingProbe

DAY = date(2026, 2, 28)


@dataclass
class Shelf:
    """A `SnapshotSource` in memory, which can be out of reach."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    is_away: bool = False
    times_asked: int = 0

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """Those that are there."""
        self.times_asked += 1
        if self.is_away:
            raise SnapshotsUnavailable("away")
        return {user_id: self.snapshots[user_id] for user_id in user_ids if user_id in self.snapshots}

    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self.snapshots


@dataclass
class Sink:
    """A `RecordSink` in memory, which can be full."""

    is_full: bool = False
    kept: list[PredictionRecord] = field(default_factory=list)

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep, or fail."""
        if self.is_full:
            raise SpoolError("full")
        self.kept.extend(records)


@dataclass
class Setting:
    """A predictor and what it was built from."""

    predictor: Predictor
    shelf: Shelf
    sink: Sink
    probe: RememberingProbe


def row(people: Population, place: int) -> FeatureRow:
    """The features of one customer."""
    return CHURN_SCHEMA.row(people.row(place))


def by_features(values: dict[str, Value]) -> PredictionRequest:
    """A request with the features themselves."""
    return PredictionRequest(features=CHURN_SCHEMA.row(values))


def by_id(user_id: str) -> PredictionRequest:
    """A request for a customer."""
    return PredictionRequest(user_id=user_id)
