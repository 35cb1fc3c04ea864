"""Requests that a service must refuse: the mistakes that clients make."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cli.traffic.rows import Row
from leeway.schema import Feature, FeatureSchema

REFUSALS = frozenset({400, 404, 422})
UNKNOWN_CUSTOMER = "0000-NOONE"


def bad_body(schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A body with one mistake in it, made from a good row."""
    return rng.choice(_MISTAKES)(schema, row, rng)


def _features(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"features": dict(row)})


def _missing(schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A feature that may not be missing is; where each may, an unknown one is there."""
    needed = [each.name for each in schema if not each.nullable]
    left_out = rng.choice(needed) if needed else None
    kept = {name: value for name, value in row.items() if name != left_out}
    return _features(kept if needed else {**row, "no_such_feature": 1})


def _misspelt(schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A feature comes under a name that is none."""
    name = rng.choice(schema.names)
    return _features({f"{each}_x" if each == name else each: value for each, value in row.items()})


def _wrong_type(schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A value is a list."""
    return _features({**row, rng.choice(schema.names): ["many"]})


def _beyond_limits(schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A number is far below what is valid; where nothing has such a limit, a value is a list."""
    limited = [each for each in schema if each.minimum is not None and each.kind in {"number", "integer"}]
    if not limited:
        return _wrong_type(schema, row, rng)
    feature = rng.choice(limited)
    return _features({**row, feature.name: _below(feature)})


def _below(feature: Feature) -> float | int:
    below = (feature.minimum or 0.0) - 999
    return int(below) if feature.kind == "integer" else below


def _both(_schema: FeatureSchema, row: Row, _rng: random.Random) -> bytes:
    """Customer and features at once."""
    return orjson.dumps({"user_id": UNKNOWN_CUSTOMER, "features": dict(row)})


def _cut_short(_schema: FeatureSchema, row: Row, _rng: random.Random) -> bytes:
    """JSON that ends half-way."""
    return _features(row)[:-10]


def _unknown_customer(_schema: FeatureSchema, _row: Row, _rng: random.Random) -> bytes:
    return orjson.dumps({"user_id": UNKNOWN_CUSTOMER})


_MISTAKES: tuple[Callable[[FeatureSchema, Row, random.Random], bytes], ...] = (
    _missing,
    _misspelt,
    _wrong_type,
    _beyond_limits,
    _both,
    _cut_short,
    _unknown_customer,
)
