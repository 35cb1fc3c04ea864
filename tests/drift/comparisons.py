"""Frames with columns of every kind, and their comparison without Evidently, which costs a second a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from drift.comparison.compare import Reference, compare, plain_measure
from drift.comparison.findings import DriftReport
from leeway.data.tabular import typed_frame
from leeway.model.drift_plan import DriftPlan
from leeway.schema import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    (
        Feature("amount", "number", nullable=True),
        Feature("count", "integer", nullable=True),
        Feature("flag", "flag", nullable=True),
        Feature("kind", "category", nullable=True),
        Feature("still", "number", nullable=True),
        Feature("never", "number", nullable=True),
    )
)
ROWS = 400


def columns(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> dict[str, Any]:
    """Columns of every kind: one constant, one entirely missing, and gaps in the others."""
    rng = np.random.default_rng(seed)

    def gaps(values: list[Any]) -> list[Any]:
        return [None if hole else value for value, hole in zip(values, rng.random(rows) < 0.1, strict=True)]

    return {
        "amount": gaps(rng.normal(10, 3, rows).tolist()),
        "count": gaps(rng.integers(0, 3, rows).tolist()),
        "flag": gaps((rng.random(rows) < 0.4).tolist()),
        "kind": gaps([("a", "b", "c")[place] for place in rng.integers(0, 3, rows)]),
        "still": [5.0] * rows,
        "never": [None] * rows,
    } | changes


def frame(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> pd.DataFrame:
    """A typed frame of `columns`."""
    return typed_frame(SCHEMA, columns(rows, seed, **changes))


REFERENCE = frame(rows=500, seed=0)
PLAN = DriftPlan.from_reference(SCHEMA, REFERENCE)


def report_of(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE, plan: DriftPlan = PLAN) -> DriftReport:
    """Compare without Evidently, by the same rules."""
    return compare(Reference(reference, SCHEMA, plan), current, plain_measure)
