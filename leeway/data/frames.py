"""Pandas frames of one schema, with types that keep what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from leeway.schema import FeatureSchema, Kind


def typed_frame(schema: FeatureSchema, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame of the schema's features, in its order: float64, Int64, boolean or text. Other columns stay out.

    None, NaN, pandas' NA and empty text mean missing.

    Raises:
        KeyError: a feature has no column.
        TypeError, ValueError, OverflowError: a value is not of its feature's kind.
    """
    return pd.DataFrame({feature.name: _typed(feature.kind, columns[feature.name]) for feature in schema})


def _typed(kind: Kind, values: Sequence[Any]) -> pd.Series[Any]:
    series: pd.Series[Any] = pd.Series(list(values), dtype="object")
    series = series.where(series.notna(), None)
    if kind == "number":
        return series.astype("float64")
    if kind == "integer":
        return series.astype("Int64")
    if kind == "flag":
        return series.astype("boolean")
    return pd.Series([None if value is None or value == "" else str(value) for value in series], dtype="object")
