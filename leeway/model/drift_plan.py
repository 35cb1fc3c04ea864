"""How each feature is compared: fixed when the bundle is made, or from the reference where there is no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import pandas as pd

from leeway.model.columns import values_of
from leeway.model.distances import BASE_THRESHOLD, Method, effective_threshold, method_for, noise_constant
from leeway.schema import FeatureSchema, Kind


@dataclass(frozen=True)
class ColumnPlan:
    """Distance, base threshold and noise constant of one column."""

    method: Method
    threshold: float
    noise_constant: float

    def threshold_at(self, subjects: int, reference_rows: int) -> float:
        """What the distance must reach to count as drift, with so many subjects against so many rows."""
        return effective_threshold(self.noise_constant, subjects, reference_rows, self.threshold)


@dataclass(frozen=True)
class DriftPlan:
    """A plan for each feature, and for the model's score where there is one."""

    features: Mapping[str, ColumnPlan]
    score: ColumnPlan | None = None

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> DriftPlan:
        """Read the `drift` part of a bundle's card.

        Raises:
            ValueError: the card has none.
        """
        try:
            drift = card["drift"]
            features = {name: ColumnPlan(**fixed) for name, fixed in drift["features"].items()}
            return cls(features, ColumnPlan(**drift["score"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the card does not say how features are compared ({error}); train again") from error

    @classmethod
    def from_reference(
        cls, schema: FeatureSchema, reference: pd.DataFrame, scores: npt.ArrayLike | None = None
    ) -> DriftPlan:
        """Fix the plan by a reference frame of the schema's features, by the rules by which a bundle is made."""
        features = {
            each.name: _fixed(each.kind, values_of(reference[each.name], each.kind), len(schema)) for each in schema
        }
        return cls(features, None if scores is None else _fixed("number", scores, 1))


def _fixed(kind: Kind, values: npt.ArrayLike, features: int) -> ColumnPlan:
    method = method_for(kind, values)
    return ColumnPlan(method, BASE_THRESHOLD, noise_constant(values, method, features=features))
