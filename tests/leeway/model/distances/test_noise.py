from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from leeway.model.distances import effective_threshold, noise_constant
from tests.leeway.model.distances.columns import NAN


def test_threshold_falls_with_the_window_down_to_the_base() -> None:
    """The threshold is c·√(1/n + 1/m), and never under 0.1."""
    assert effective_threshold(3, 200, 2_000) == pytest.approx(3 * math.sqrt(1 / 200 + 1 / 2_000))
    assert effective_threshold(3, 100, 10**12) == pytest.approx(3 / math.sqrt(100))
    assert effective_threshold(3, 5_000, 5_000) == 0.1
    assert effective_threshold(0, 1, 1, base=0.2) == 0.2


def test_noise_is_the_same_for_the_same_seed() -> None:
    """The same reference and seed give the same constant, to the last digit."""
    values = np.random.default_rng(1).normal(size=800)
    assert noise_constant(values, "wasserstein", features=14, seed=5) == noise_constant(
        values, "wasserstein", features=14, seed=5
    )


def test_noise_of_categories_is_that_of_the_limit() -> None:
    """For three frequent categories c is √(χ²/8) at the 1 - 0.05 / 14 quantile (two degrees of freedom: 11.27)."""
    values = np.repeat(["a", "b", "c"], [700, 600, 500]).astype(object)
    assert noise_constant(values, "jensenshannon", features=14) == pytest.approx(math.sqrt(11.27 / 8), rel=0.07)


@pytest.mark.parametrize("values", [np.full(500, 3.0), ["a"] * 500, [None] * 500, [NAN, 2.0, NAN], []])
def test_a_feature_without_variation_has_no_noise(values: Any) -> None:  # noqa: ANN401
    """Constant or empty: 0, by both methods, whatever is missing."""
    assert noise_constant(values, "jensenshannon", features=14) == 0
    if "a" not in values:
        assert noise_constant(values, "wasserstein", features=14) == 0


def test_missing_values_add_noise() -> None:
    """With three of four values missing a window is a quarter as large, and c twice as high."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=4_000)
    holes = np.where(rng.random(values.size) < 0.75, NAN, values)
    whole = noise_constant(values, "wasserstein", features=14)
    assert noise_constant(holes, "wasserstein", features=14) == pytest.approx(2 * whole, rel=0.1)


def test_noise_grows_with_the_number_of_features() -> None:
    """The more features are compared, the further out the quantile."""
    values = np.random.default_rng(3).normal(size=800)
    found = [noise_constant(values, "wasserstein", features=features) for features in (1, 14, 1_000)]
    assert found == sorted(set(found))


def test_drawing_neighbours_as_one_keeps_the_noise() -> None:
    """100,000 distinct values have the constant of 120 steps through the same distribution."""
    values = np.random.default_rng(4).normal(size=100_000)
    steps = np.round(values * 15) / 15
    whole = noise_constant(values, "wasserstein", features=14)
    assert whole == pytest.approx(noise_constant(steps, "wasserstein", features=14), rel=0.05)
