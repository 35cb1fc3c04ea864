"""How each feature is compared: fixed when the bundle is made, or from the reference where there is no bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from leeway.model.distances import BASE_THRESHOLD, Method, effective_threshold, method_for, noise_constant
from leeway.model.encoding import FLOAT32_MAX
from leeway.schema import FeatureSchema, Kind, Value

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
    """A plan for each feature, and for what is compared of the model's answers: scores, or predicted classes."""

    features: Mapping[str, ColumnPlan]
    score: ColumnPlan | None = None

    @classmethod
    def from_reference(
        cls, schema: FeatureSchema, reference: pd.DataFrame, compared: npt.ArrayLike | None = None
    ) -> DriftPlan:
        """Fix the plan by a reference frame of the schema's features, and what is compared of the answers to its rows.

        That is the schema's `target.compared_column`.
        """
        features = {
            each.name: ColumnPlan.of(
                each.kind, clipped(values_of(reference[each.name], each.kind)), features=len(schema)
            )
            for each in schema
        }
        kind: Kind = "category" if schema.target.task == "multiclass" else "number"  # classes may be numbers
        return cls(features, None if compared is None else ColumnPlan.of(kind, compared, features=1))


def frame_values(frame: pd.DataFrame, schema: FeatureSchema) -> dict[str, Values]:
    """The values of the schema's features, and of its target's `compared_column` if the frame has it."""
    kinds: dict[str, Kind] = {each.name: each.kind for each in schema}
    if schema.target.compared_column in frame:
        kinds[schema.target.compared_column] = schema.target.compared_kind
    return {name: values_of(frame[name], kind) for name, kind in kinds.items()}


def values_of(column: pd.Series[Any], kind: Kind) -> Values:
    """The values of a column of any dtype."""
    if kind == "category":
        return column.astype("object").where(column.notna(), None).to_numpy(dtype=object)
    return finite(column.to_numpy(dtype=np.float64, na_value=np.nan))


def list_values(values: Sequence[Value], kind: Kind) -> Values:
    """The values of a list in which None, and empty text, are missing."""
    if kind == "category":
        return np.array([value or None for value in values], dtype=object)
    return finite(np.array(values, dtype=np.float64))  # None becomes NaN


def finite(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Numbers with NaN for infinities, which count as missing."""
    return np.where(np.isfinite(numbers), numbers, np.nan)


def clipped(values: Values) -> Values:
    """Numbers clipped to the largest 32-bit float, text as it is.

    That is also the largest number that a model is given: the square of a larger one has no distance.
    """
    if values.dtype == object:
        return values
    numbers: npt.NDArray[np.float64] = np.clip(values, -FLOAT32_MAX, FLOAT32_MAX)
    return numbers
