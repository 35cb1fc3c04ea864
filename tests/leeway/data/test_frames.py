from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from leeway.data.frames import typed_frame
from leeway.schema import Feature, FeatureSchema, Kind


def typed(kind: Kind, values: list[Any]) -> pd.Series[Any]:
    """One column as the frame holds it."""
    return typed_frame(FeatureSchema((Feature("a", kind),)), {"a": values})["a"]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
@pytest.mark.parametrize(
    ("kind", "value", "dtype"),
    [
        ("number", 1.5, "float64"),
        ("integer", 2**53 + 1, "Int64"),
        ("flag", True, "boolean"),
        ("category", "x", "object"),
    ],
)
def test_missing_stays_missing(kind: Kind, value: object, dtype: str, missing: object) -> None:
    """Each kind has its type, keeps its value to the last bit, and keeps what is missing."""
    column = typed(kind, [value, missing])
    assert (str(column.dtype), column[0], bool(pd.isna(column[1]))) == (dtype, value, True)


@pytest.mark.parametrize("kind", ["number", "integer", "flag", "category"])
def test_a_column_of_nothing_is_typed(kind: Kind) -> None:
    """A column without any value has the type of its kind all the same."""
    assert typed(kind, [None, None]).isna().all()
    assert typed(kind, [None, None]).dtype == typed(kind, []).dtype


@pytest.mark.parametrize(("value", "text"), [("x", "x"), (5, "5"), ("", None), ("None", "None")])
def test_categories_are_text(value: object, text: str | None) -> None:
    """A category is text whatever it was; empty text is missing."""
    assert typed("category", [value]).tolist() == [text]


@pytest.mark.parametrize(("kind", "value"), [("number", "x"), ("integer", 1.5), ("integer", 2**70), ("flag", "yes")])
def test_refuses_another_kind(kind: Kind, value: object) -> None:
    """A value of another kind is an error, not a silent cast."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        typed(kind, [value])


def test_columns_are_the_schemas() -> None:
    """The frame holds the schema's features in its order; a column of another name stays out."""
    schema = FeatureSchema((Feature("b", "number"), Feature("a", "flag")))
    frame = typed_frame(schema, {"a": [True], "x": [1], "b": [1.0]})
    assert list(frame.columns) == ["b", "a"]


def test_an_absent_column_is_an_error() -> None:
    """A feature without a column is a KeyError that names it."""
    with pytest.raises(KeyError, match="'a'"):
        typed_frame(FeatureSchema((Feature("a", "number"),)), {"b": [1.0]})
