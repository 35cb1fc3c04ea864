"""How each feature is compared: fixed when the bundle is made, or from the reference where there is no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from leeway.model.distances import BASE_THRESHOLD, Method, effective_threshold, method_for, noise_constant
from leeway.model.encoding import FLOAT32_MAX
from leeway.schema import FeatureSchema, Kind

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = npt.NDArray[np.float64] | npt.NDArray[np.object_]
"""One value a row: numbers with NaN for missing (a flag is 0 or 1), or text with None for missing."""


class ColumnPlan(msgspec.Struct, frozen=True):
    """Distance, base threshold and noise constant of one column."""

    method: Method
    threshold: float
    noise_constant: float

    @classmethod
    def of(cls, kind: Kind, values: npt.ArrayLike, *, features: int) -> ColumnPlan:
        """Fix the plan of a column by its values in the reference; `features` columns are compared together."""
        method = method_for(kind, values)
        return cls(method, BASE_THRESHOLD, noise_constant(values, method, features=features))

    def threshold_at(self, subjects: int, reference_rows: int) -> float:
        """The distance from which on a column of so many subjects has drifted from so many reference rows."""
        return effective_threshold(self.noise_constant, subjects, reference_rows, self.threshold)


class DriftPlan(msgspec.Struct, frozen=True):
    """A plan for each feature, and for the model's score if there is one."""

    features: Mapping[str, ColumnPlan]
    score: ColumnPlan | None = None

    @classmethod
    def from_reference(
        cls, schema: FeatureSchema, reference: pd.DataFrame, scores: npt.ArrayLike | None = None
    ) -> DriftPlan:
        """Fix the plan by a reference frame of the schema's features, and the model's scores of its rows."""
        features = {
            each.name: ColumnPlan.of(each.kind, values_of(reference[each.name], each.kind), features=len(schema))
            for each in schema
        }
        return cls(features, None if scores is None else ColumnPlan.of("number", scores, features=1))


def values_of(column: pd.Series[Any], kind: Kind) -> Values:
    """The values of a column of any dtype.

    Infinities count as missing. Numbers are clipped to the largest 32-bit float, which is also the largest that a model
    is given: the square of a larger one has no distance.
    """
    if kind == "category":
        return column.astype("object").where(column.notna(), None).to_numpy(dtype=object)
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), np.clip(numbers, -FLOAT32_MAX, FLOAT32_MAX), np.nan)
