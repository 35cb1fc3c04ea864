"""Columns that give a number or one of several classes away; test_untidy_tables.py has those of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from leeway.data.suspects import suspects
from tests.datasets import DIABETES, WINE

ROWS = 400
RNG = np.random.default_rng(3)
NOISE = pd.Series(RNG.normal(size=ROWS))
NUMBERS = RNG.gamma(3, 50, ROWS)
CODES = RNG.integers(0, 3, ROWS)
CLASSES = np.array(WINE.classes)[CODES]


@pytest.mark.parametrize(
    ("values", "figure"),
    [
        (pd.Series(NUMBERS * 1.19), 0.99),  # the price with tax
        (pd.Series(-NUMBERS), 0.99),
        (pd.Series(np.abs(NUMBERS - 150)), None),  # two numbers for each value
        (pd.Series(NUMBERS + RNG.normal(0, 40, ROWS)), None),
        (NOISE, None),
    ],
    ids=["a multiple", "the opposite", "a distance", "a good feature", "noise"],
)
def test_a_column_that_is_the_number_is_named(values: pd.Series[Any], figure: float | None) -> None:
    """By an R² of at least 0.99, whatever the relation is."""
    found = list(suspects(pd.DataFrame({"x": values, "noise": NOISE}), NUMBERS, DIABETES))
    assert [text.startswith("column x alone predicts the target with an R² of 0.99") for text in found] == (
        [] if figure is None else [True]
    )


@pytest.mark.parametrize(
    ("values", "is_named"),
    [
        (pd.Series(np.array(["late", "new", "old"])[CODES], dtype=object), True),
        (pd.Series(CODES * 10 + RNG.random(ROWS)), True),
        (pd.Series(CODES + RNG.normal(0, 1, ROWS)), False),
        (NOISE, False),
    ],
    ids=["a category", "a number", "a good feature", "noise"],
)
def test_a_column_that_is_the_class_is_named(values: pd.Series[Any], is_named: bool) -> None:  # noqa: FBT001 (an expectation)
    """By the mean ROC AUC of each class against the others: a class may lie between two others."""
    found = list(suspects(pd.DataFrame({"x": values, "noise": NOISE}), CLASSES, WINE))
    assert ["with a ROC AUC (one-vs-rest) of" in text and "--drop x" in text for text in found] == [True] * is_named
