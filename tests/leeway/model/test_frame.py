from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from leeway.model.encoding import FLOAT32_MAX, Encoder
from leeway.model.frame import FrameLayout
from leeway.schema import Feature, FeatureSchema, Kind, Value


def rebuilt(column: pd.Series[Any], kind: Kind, values: list[Value]) -> pd.Series[Any]:
    """These values as the column that a pipeline takes that was fitted on `column`."""
    schema = FeatureSchema((Feature("a", kind, nullable=True),))
    layout, encoder = FrameLayout.of([pd.DataFrame({"a": column})], schema), Encoder(schema)
    return layout.frame(encoder, encoder.encode([(value,) for value in values]))["a"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series([3, 4]), "integer"),
        (pd.Series([3, 4], dtype="uint8"), "integer"),
        (pd.Series([3, None], dtype="Int64"), "integer"),
        (pd.Series([3.0, np.nan]), "integer"),
        (pd.Series([0.1, np.nan]), "number"),
        (pd.Series([0.5, 0.25], dtype="float32"), "number"),
        (pd.Series([3, None, 4], dtype=object), "integer"),
        (pd.Series([True, False]), "flag"),
        (pd.Series([True, None, False], dtype="boolean"), "flag"),
        (pd.Series([True, None, False], dtype=object), "flag"),
        (pd.Series([0, 1]), "flag"),
        (pd.Series(["x", np.nan, "y"], dtype="str"), "category"),
        (pd.Series(["x", pd.NA], dtype="string"), "category"),
        (pd.Series(["x", None], dtype=object), "category"),
        (pd.Series(["x", np.nan], dtype=object), "category"),
        (pd.Series(["x", ""], dtype=object), "category"),
        (pd.Series(["x", None, "y"], dtype=pd.CategoricalDtype(["y", "x", "z"], ordered=True)), "category"),
        (pd.Series([3, 1, None], dtype=pd.CategoricalDtype([1, 3])), "category"),
    ],
)
def test_a_column_is_rebuilt_as_it_was(column: pd.Series[Any], kind: Kind) -> None:
    """From a column's values, as a request has them, comes the same column: dtype, missing values and categories."""
    values = [None if pd.isna(cell) or cell == "" else str(cell) if kind == "category" else cell for cell in column]
    again = rebuilt(column, kind, values)
    pd.testing.assert_series_equal(again, column, check_names=False)
    assert [type(cell) for cell in again] == [type(cell) for cell in column]


@pytest.mark.parametrize(
    ("column", "kind", "value", "expected"),
    [
        (pd.Series([3, 4], dtype="int8"), "integer", 300, 300.0),
        (pd.Series([3, 4]), "integer", None, np.nan),
        (pd.Series([True, False]), "flag", None, np.nan),
        (pd.Series([0.5]), "number", 1e300, FLOAT32_MAX),
        (pd.Series(["x"], dtype="category"), "category", "new", "new"),
        (pd.Series(["x"], dtype="category"), "category", None, np.nan),
    ],
)
def test_values_that_the_column_did_not_have_are_kept(
    column: pd.Series[Any], kind: Kind, value: Value, expected: Value
) -> None:
    """A value that the dtype cannot hold is a 64-bit float, a new category is a category, a huge number is finite."""
    (found,) = rebuilt(column, kind, [value])
    assert found == expected or (pd.isna(found) and pd.isna(expected))


def test_columns_keep_their_order_and_the_rest_is_dropped() -> None:
    """The columns are the frame's, in its order, without those that are no features; gaps look as where one is."""
    schema = FeatureSchema((Feature("a", "number"), Feature("b", "category", nullable=True)))
    whole = pd.DataFrame({"b": pd.Series(["x"], dtype=object), "id": [7], "a": [1.0]})
    layout = FrameLayout.of([whole, whole.assign(b=pd.Series([None], dtype=object))], schema)
    assert {name: column.missing for name, column in layout.columns.items()} == {"b": "None", "a": "NaN"}
