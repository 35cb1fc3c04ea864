"""Feature rows for requests: where they come from, and which features drift changes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from leeway.data.population import Population, population
from leeway.model.encoding import usual_range
from leeway.schema import Feature, FeatureSchema, Value

Row: TypeAlias = Mapping[str, Value]
WORSE_NETWORK = (
    "watch_hours_30d and avg_session_mins_7d go down; rebuffer_events_7d, skips_7d, support_tickets_90d and"
    " ticket_avg_resolution_hrs_90d go up"
)


class PopulationRows:
    """Customers of the built-in population, with its own covariate drift.

    Each strength is a population of its own. They are made here, at 30 ms each, because the sender has no time for it
    later. `month` is that of `leeway.data.population`.
    """

    origin = "the built-in population's customers"
    moved = WORSE_NETWORK

    def __init__(self, strengths: Iterable[float], month: int = 0) -> None:
        self._people: dict[float, Population] = {
            strength: population(month, covariate_drift=strength) for strength in {0.0, *strengths}
        }
        self.user_ids: Sequence[str] = self._people[0.0].user_ids

    def row(self, rng: random.Random, drift: float) -> Row:
        """One row, drawn with `rng`, with drift of this strength, one of those given."""
        people = self._people[drift]
        return people.row(rng.randrange(len(people)))


class AnsweredRows:
    """Features of customers as the service returned them, and a network that gets worse."""

    origin = "the service's snapshots of your customers"
    moved = WORSE_NETWORK

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def row(self, rng: random.Random, drift: float) -> Row:
        """One row, drawn with `rng`, with drift of this strength, 0…1."""
        row = self._rows[rng.randrange(len(self._rows))]
        return worse_network(row, drift, rng) if drift else row


def worse_network(row: Row, drift: float, rng: random.Random) -> Row:
    """The row of a customer whose network is worse, with the covariate drift of `leeway.data.population`.

    Counts are rounded up or down at random, so that they are right on average.
    """
    changed = {
        "watch_hours_30d": max(_number(row["watch_hours_30d"]) - 5 * drift, 0.0),
        "avg_session_mins_7d": _number(row["avg_session_mins_7d"]) * (1 - 0.25 * drift),
        "ticket_avg_resolution_hrs_90d": min(_number(row["ticket_avg_resolution_hrs_90d"]) + 3 * drift, 2_160.0),
    }
    for name, more in (("skips_7d", 0.5), ("rebuffer_events_7d", 0.7), ("support_tickets_90d", 1.0)):
        changed[name] = math.floor(_number(row[name]) * (1 + more * drift) + rng.random())
    return {**row, **changed}


def _number(value: Value) -> float:
    return float(value or 0.0)


class DrawnRows:
    """Rows drawn from the ranges of the model's training data, for any schema.

    They are valid but less realistic than real ones: each feature is drawn uniformly, independently of the others.
    """

    origin = "the schema's ranges (each feature drawn independently, so expect some drift from the start)"

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._moved = [each.name for each in schema if each.kind in {"number", "integer"}][::2]
        self.moved = "nothing, because no feature is a number"
        if self._moved:
            self.moved = f"{', '.join(self._moved)} go up, by half their usual range at strength 1"

    def row(self, rng: random.Random, drift: float) -> Row:
        """One row, drawn with `rng`, with drift of this strength, 0…1."""
        return {each.name: self._value(each, rng, drift if each.name in self._moved else 0.0) for each in self._schema}

    def _value(self, feature: Feature, rng: random.Random, drift: float) -> Value:
        if feature.nullable and rng.random() < feature.seen.missing_share:
            return None
        if feature.kind == "flag":
            return rng.random() < 0.5  # noqa: PLR2004 (even odds)
        if feature.kind == "category":
            return rng.choice(feature.seen.categories or ("other",))
        low, high = usual_range(feature.seen)
        if not (math.isfinite(low) and math.isfinite(high)):
            low = high = feature.minimum or 0.0  # no value in training
        value = rng.uniform(low, high) + 0.5 * drift * (high - low)
        value = value if feature.maximum is None else min(value, feature.maximum)
        return math.floor(value) if feature.kind == "integer" else value


Rows: TypeAlias = PopulationRows | AnsweredRows | DrawnRows
"""Feature rows to send. `origin` says where they come from, and `moved` what drift changes, for people."""
