"""Columns of all shapes, before and after, for the tests of the distances between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

NAN = float("nan")
SIZE, OTHER_SIZE = 420, 360  # rows of the two sides
SEED = 11


def numeric_pairs() -> dict[str, tuple[Any, Any]]:
    """Reference and current values of numerical columns."""
    rng = np.random.default_rng(SEED)
    normal = rng.normal(10, 3, SIZE)
    return {
        "continuous": (normal, rng.normal(10.5, 3, OTHER_SIZE)),
        "missing": (np.where(rng.random(SIZE) < 0.2, NAN, normal), [NAN, NAN, *rng.normal(9, 2, OTHER_SIZE - 2)]),
        "infinite": (normal, [math.inf, *normal[: OTHER_SIZE - 1]]),
        "ties": (rng.poisson(3, SIZE), rng.poisson(4, OTHER_SIZE)),
        "heavy_tail": (rng.pareto(2, SIZE), rng.pareto(2, OTHER_SIZE)),
        "constant": (np.full(SIZE, 7.5), np.full(OTHER_SIZE, 7.5)),
        "constant_moved": (np.full(SIZE, 7.5), np.full(OTHER_SIZE, 8.5)),
        "constant_awake": (np.full(SIZE, 7.5), rng.normal(7.5, 1, OTHER_SIZE)),
        "nearly_constant": (7 + rng.normal(0, 1e-5, SIZE), 7 + rng.normal(0, 1e-5, OTHER_SIZE)),
        "large_integers": (rng.integers(2**53, 2**60, SIZE), rng.integers(2**53, 2**60, OTHER_SIZE)),
        "one_present": (normal, [4.0] + [NAN] * (OTHER_SIZE - 1)),
    }


def categorical_pairs() -> dict[str, tuple[Any, Any]]:
    """Reference and current values of categorical columns."""
    rng = np.random.default_rng(SEED)

    def picked(values: list[Any], size: int) -> list[Any]:
        return [values[place] for place in rng.integers(0, len(values), size)]

    return {
        "flag": (np.array(picked([True, False], SIZE)), np.array(picked([True, True, False], OTHER_SIZE))),
        "flag_missing": (picked([True, False, None], SIZE), picked([True, False, False, None, NAN], OTHER_SIZE)),
        "flag_missing_in_one": (np.array(picked([True, False], SIZE)), picked([True, False, None], OTHER_SIZE)),
        "few_integers": (np.array(picked([0, 1, 2], SIZE)), np.array(picked([0, 1, 2, 3], OTHER_SIZE))),
        "few_numbers_missing": (picked([0.0, 0.5, NAN], SIZE), picked([0.5, 0.0, 2.5, NAN], OTHER_SIZE)),
        "integer_and_float": (np.array(picked([0, 1], SIZE)), picked([0.0, 1.0, 1.0, NAN], OTHER_SIZE)),
        "category": (picked(["DSL", "Fiber", "No"], SIZE), picked(["DSL", "No", "No"], OTHER_SIZE)),
        "category_missing": (picked(["a", "b", None], SIZE), picked(["b", "a", "a", None], OTHER_SIZE)),
        "category_new": (picked(["a", "b"], SIZE), picked(["a", "b", "satellite"], OTHER_SIZE)),
        "category_gone": (picked(["a", "b", "c"], SIZE), picked(["a", "b"], OTHER_SIZE)),
        "category_many": (picked([f"c{n}" for n in range(60)], SIZE), picked([f"c{n}" for n in range(70)], OTHER_SIZE)),
        "category_constant": (["a"] * SIZE, ["a"] * OTHER_SIZE),
        "category_replaced": (["a"] * SIZE, ["b"] * OTHER_SIZE),
    }
