"""The frame that a pipeline takes: its columns in order, their types, and how missing text looks in it.

A pipeline answers as it was fitted only if its input looks as it did then: `None` is a category of its own for one
encoder and an error for the next, and a selector of integer columns does not find 64-bit floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leeway.model.encoding import FLOAT32_MAX, Encoded, Encoder
from leeway.schema import FeatureSchema, Kind, Value

Marker: TypeAlias = Literal["None", "NaN", "NA", ""]
"""How a missing value looks in a column of Python objects."""

_MARKERS: Final[dict[Marker, Any]] = {"None": None, "NaN": np.nan, "NA": pd.NA, "": ""}


class Column(msgspec.Struct, frozen=True):
    """The pandas dtype of a column, by name, and what the name does not say.

    `categories` are those of a categorical column; of any other column of text they are the values that are not text in
    the frame, although the schema has text for them.
    """

    dtype: str
    missing: Marker = "NaN"
    categories: tuple[Value, ...] = ()
    ordered: bool = False


class FrameLayout(msgspec.Struct, frozen=True):
    """The columns of the frame that a pipeline takes, in order."""

    columns: dict[str, Column]

    @classmethod
    def of(cls, frames: Sequence[pd.DataFrame], schema: FeatureSchema) -> FrameLayout:
        """The layout of the first frame, without columns that are no features.

        Missing values look as in the first frame that has one in the column.
        """
        first = frames[0]
        names = [str(name) for name in first if name in schema]
        return cls({name: _column([frame[name] for frame in frames], schema[name].kind) for name in names})

    @classmethod
    def plain(cls, schema: FeatureSchema) -> FrameLayout:
        """What the built-in training fits on: 32-bit floats with NaN if missing, and text with "" if missing.

        Trees compare values with thresholds from their training data: fitted on 32-bit floats, they agree with ONNX,
        which computes with them.
        """
        text, number = Column("str", missing=""), Column("float32")
        return cls({each.name: text if each.kind == "category" else number for each in schema})

    def frame(self, encoder: Encoder, encoded: Encoded) -> pd.DataFrame:
        """Encoded rows as the pipeline takes them; numbers are clipped to the largest 32-bit float, as for ONNX."""
        numbers = encoded.numbers.clip(-FLOAT32_MAX, FLOAT32_MAX)
        places = {name: place for place, name in enumerate(encoder.number_names)}
        return pd.DataFrame(
            {
                name: _texts(column, encoded.texts[name])
                if name in encoded.texts
                else _numbers(column, encoder.schema[name].kind, numbers[:, places[name]])
                for name, column in self.columns.items()
            }
        )


def _column(columns: Sequence[pd.Series[Any]], kind: Kind) -> Column:
    first = columns[0]
    if isinstance(first.dtype, pd.CategoricalDtype):
        categories = tuple(_plain(each) for each in first.dtype.categories)
        return Column("category", "" if "" in categories else "NaN", categories, bool(first.dtype.ordered))
    markers = [marker for marker in map(_missing, columns) if marker is not None]
    missing: Marker = markers[0] if markers else "NaN"
    odd = {_plain(each) for each in first.dropna().unique() if not isinstance(each, str)} if kind == "category" else ()
    return Column(str(first.dtype), missing, tuple(sorted(odd, key=str)))


def _missing(values: pd.Series[Any]) -> Marker | None:
    """How the first missing value of a column looks, and None if it has none; empty text is a missing value."""
    missing = values[values.isna() | (values == "").fillna(value=False)]
    if missing.empty:
        return None
    first = missing.iloc[0]
    return next((name for name, value in _MARKERS.items() if first is value), "" if isinstance(first, str) else "NaN")


def _plain(value: Any) -> Value:  # noqa: ANN401 (any cell)
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain


def _numbers(column: Column, kind: Kind, numbers: NDArray[np.float64]) -> pd.Series[Any]:
    """Numbers in the column's dtype, or as 64-bit floats if it cannot hold one of them."""
    if column.dtype == "object":
        convert = {"flag": bool, "integer": int}.get(kind, float)
        missing = _MARKERS[column.missing]
        return pd.Series([missing if np.isnan(each) else convert(each) for each in numbers], dtype="object")
    if column.dtype == "category":
        return _categorical(column, numbers.tolist())
    if column.dtype == "bool" and np.isnan(numbers).any():  # NaN would be true
        return pd.Series(numbers)
    try:
        return pd.Series(numbers, dtype=column.dtype)
    except (TypeError, ValueError):
        return pd.Series(numbers)


def _texts(column: Column, texts: Sequence[str]) -> pd.Series[Any]:
    missing, odd = _MARKERS[column.missing], {str(each): each for each in column.categories}
    values = [odd.get(text, text) if text else missing for text in texts]
    if column.dtype == "category":
        return _categorical(column, values)
    try:
        return pd.Series(values, dtype=column.dtype)
    except (TypeError, ValueError):
        return pd.Series(values, dtype="object")


def _categorical(column: Column, values: Sequence[Any]) -> pd.Series[Any]:
    """A categorical column; a value that is none of its categories is another category, not a missing value."""
    known = set(column.categories)
    new = {value: None for value in values if not pd.isna(value) and value not in known}
    return pd.Series(pd.Categorical(values, categories=[*column.categories, *new], ordered=column.ordered))
