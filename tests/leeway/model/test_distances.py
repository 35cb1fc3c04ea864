from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from leeway.model.distances import (
    Method,
    cumulative_shares,
    effective_threshold,
    jensenshannon,
    method_for,
    noise_constant,
    wasserstein_normed,
)
from leeway.schema import Kind
from leeway.telemetry.names import SCORE_BUCKETS

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


NUMERIC, CATEGORICAL = numeric_pairs(), categorical_pairs()


@pytest.fixture(scope="module")
def by_evidently() -> Mapping[str, float]:
    """Evidently's distances of all those columns, passed to it as the detector passes them."""
    pairs = NUMERIC | CATEGORICAL
    with warnings.catch_warnings():
        # Its import calls what numpy and litestar deprecate, and its plot of a column divides by zero.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 (five seconds: only for these tests)
        from evidently.metrics import ValueDrift  # noqa: PLC0415 (the same)

        definition = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(CATEGORICAL))
        reference, current = (
            Dataset.from_pandas(pd.DataFrame({name: pair[side] for name, pair in pairs.items()}), definition)
            for side in (0, 1)
        )
        metrics = [ValueDrift(column=name, method="wasserstein", threshold=0.1) for name in NUMERIC]
        metrics += [ValueDrift(column=name, method="jensenshannon", threshold=0.1) for name in CATEGORICAL]
        found = Report(metrics).run(current, reference).dict()["metrics"]
    return {metric["config"]["column"]: float(metric["value"]) for metric in found}


@pytest.mark.parametrize("name", [*NUMERIC, *CATEGORICAL])
def test_distances_are_evidentlys(name: str, by_evidently: Mapping[str, float]) -> None:
    """For the same rows both give the same distance within 1e-9."""
    found = wasserstein_normed(*NUMERIC[name]) if name in NUMERIC else jensenshannon(*CATEGORICAL[name])
    assert found == pytest.approx(by_evidently[name], abs=1e-9)


def test_an_empty_column_has_no_distance() -> None:
    """If a side has no value, both distances raise, as Evidently does."""
    for distance in (wasserstein_normed, jensenshannon):
        for pair in (([1.0, 2.0], [NAN, NAN]), ([NAN], [1.0, 2.0])):
            with pytest.raises(ValueError, match="nothing to compare"):
                distance(*pair)


def test_pandas_na_is_rejected() -> None:
    """The missing value of pandas is an error, not another category."""
    with pytest.raises(TypeError):
        jensenshannon(pd.array([True, None], dtype="boolean"), [True, False])


@pytest.mark.parametrize(
    ("kind", "values", "method"),
    [
        ("number", [1.5, 2, 3, 4, 5, 6], "wasserstein"),
        ("number", [1.5, 2, 3, 4, 5, NAN, NAN, 5], "jensenshannon"),
        ("integer", np.arange(6), "wasserstein"),
        ("integer", [0, 1, 2, None], "jensenshannon"),
        ("number", [NAN, NAN], "jensenshannon"),
        ("flag", [True, False, None], "jensenshannon"),
        ("category", ["a", "b", "c", "d", "e", "f", "g"], "jensenshannon"),
    ],
)
def test_method_follows_kind_and_distinct_values(kind: Kind, values: Any, method: Method) -> None:  # noqa: ANN401
    """Numbers with more than five distinct values: Wasserstein; all else: Jensen–Shannon."""
    assert method_for(kind, values) == method


def test_cumulative_shares() -> None:
    """Each bound has the share of scores up to it, the last bound all of them."""
    assert cumulative_shares([0.05, 0.3, 0.3, 1.0], (0.05, 0.299, 0.3, 1.0)) == (0.25, 0.25, 0.75, 1.0)
    shares = cumulative_shares(np.random.default_rng(1).random(1_000), SCORE_BUCKETS)
    assert len(shares) == len(SCORE_BUCKETS)
    assert shares[-1] == 1


def test_cumulative_shares_need_a_score() -> None:
    """Without scores there are no shares."""
    with pytest.raises(ValueError, match="no value is present"):
        cumulative_shares([], SCORE_BUCKETS)


def test_threshold_falls_with_the_window_down_to_the_base() -> None:
    """The threshold is c·√(1/n + 1/m), but at least 0.1."""
    assert effective_threshold(3, 200, 2_000) == pytest.approx(3 * math.sqrt(1 / 200 + 1 / 2_000))
    assert effective_threshold(3, 100, 10**12) == pytest.approx(3 / math.sqrt(100))
    assert effective_threshold(3, 5_000, 5_000) == 0.1
    assert effective_threshold(0, 1, 1, base=0.2) == 0.2


def test_the_same_seed_gives_the_same_noise() -> None:
    """The same reference and seed give exactly the same constant."""
    values = np.random.default_rng(1).normal(size=800)
    assert noise_constant(values, "wasserstein", features=14, seed=5) == noise_constant(
        values, "wasserstein", features=14, seed=5
    )


def test_the_noise_of_categories_reaches_its_limit() -> None:
    """For three frequent categories c is √(χ²/8) at the 1 - 0.05 / 14 quantile (two degrees of freedom: 11.27)."""
    values = np.repeat(["a", "b", "c"], [700, 600, 500]).astype(object)
    assert noise_constant(values, "jensenshannon", features=14) == pytest.approx(math.sqrt(11.27 / 8), rel=0.07)


@pytest.mark.parametrize("values", [np.full(500, 3.0), ["a"] * 500, [None] * 500, [NAN, 2.0, NAN], []])
def test_a_feature_without_variation_has_no_noise(values: Any) -> None:  # noqa: ANN401
    """A constant or empty feature has 0, by both methods."""
    assert noise_constant(values, "jensenshannon", features=14) == 0
    if "a" not in values:
        assert noise_constant(values, "wasserstein", features=14) == 0


def test_missing_values_add_noise() -> None:
    """If three of four values are missing, a window is a quarter as large, and c twice as high."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=4_000)
    holes = np.where(rng.random(values.size) < 0.75, NAN, values)
    whole = noise_constant(values, "wasserstein", features=14)
    assert noise_constant(holes, "wasserstein", features=14) == pytest.approx(2 * whole, rel=0.1)


def test_noise_grows_with_the_number_of_features() -> None:
    """The more features are compared, the higher the quantile."""
    values = np.random.default_rng(3).normal(size=800)
    found = [noise_constant(values, "wasserstein", features=features) for features in (1, 14, 1_000)]
    assert found == sorted(set(found))


def test_grouping_neighbours_keeps_the_noise() -> None:
    """100,000 distinct values have the same constant as 120 steps through the same distribution."""
    values = np.random.default_rng(4).normal(size=100_000)
    steps = np.round(values * 15) / 15
    whole = noise_constant(values, "wasserstein", features=14)
    assert whole == pytest.approx(noise_constant(steps, "wasserstein", features=14), rel=0.05)


Frame: TypeAlias = Mapping[str, npt.NDArray[np.float64]]


def drawn(rng: np.random.Generator, rows: int) -> Frame:
    """Customers of one population: 14 columns; some with missing values, some heavy-tailed."""
    net = rng.choice(3, rows, p=[0.34, 0.44, 0.22])
    offline = net == 2
    return {
        "months": np.where(rng.random(rows) < 0.3, rng.integers(0, 6, rows), rng.integers(0, 73, rows)).astype(float),
        "fee": np.round(rng.normal(np.array([58, 91, 20])[net], np.array([16, 12, 1])[net]), 1),
        "paperless": (rng.random(rows) < 0.6).astype(float),
        "tv": np.where(offline, NAN, rng.random(rows) < 0.49),
        "films": np.where(offline, NAN, rng.random(rows) < 0.5),
        "net": net.astype(float),
        "hours": rng.normal(30, 7, rows),
        "session": rng.lognormal(3.3, 0.6, rows),
        "spending": rng.pareto(3, rows),
        "skips": rng.poisson(5, rows).astype(float),
        "stalls": rng.poisson(2.3, rows).astype(float),
        "failed": np.minimum(rng.poisson(0.16, rows), 2).astype(float),
        "tickets": np.minimum(rng.poisson(0.3, rows), 4).astype(float),
        "resolution": np.where(rng.random(rows) < 0.74, NAN, rng.gamma(6, 1.7, rows)),
    }


@dataclass(frozen=True)
class Reference:
    """A random reference with each feature's method and noise constant, as in a bundle."""

    frame: Frame
    methods: Mapping[str, Method]
    noise: Mapping[str, float]

    @classmethod
    def of(cls, frame: Frame) -> Reference:
        """Compute both from the frame."""
        methods = {name: method_for("number", column) for name, column in frame.items()}
        noise = {name: noise_constant(frame[name], methods[name], features=len(frame)) for name in frame}
        return cls(frame, methods, noise)

    def detected(self, window: Frame) -> list[str]:
        """The features whose distance reaches the effective threshold."""
        distance = {"wasserstein": wasserstein_normed, "jensenshannon": jensenshannon}
        return [
            name
            for name, method in self.methods.items()
            if distance[method](self.frame[name], window[name])
            >= effective_threshold(self.noise[name], window[name].size, self.frame[name].size)
        ]


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    """Two references of 2,113 rows, so that the result does not depend on one lucky draw."""
    rng = np.random.default_rng(SEED)
    return [Reference.of(drawn(rng, 2_113)) for _ in range(2)]


@pytest.mark.long
@pytest.mark.parametrize("subjects", [200, 500, 1_000, 5_000])
def test_no_false_alarms(subjects: int, references: list[Reference]) -> None:
    """Of 300 windows of other customers at most 7 % show any detected feature; `test_null` draws from the reference."""
    rng = np.random.default_rng(subjects)
    alarms = [bool(each.detected(drawn(rng, subjects))) for each in references for _ in range(150)]
    assert np.mean(alarms) <= 0.07


@pytest.mark.long
def test_no_false_alarms_against_a_small_reference() -> None:
    """A reference of 300 rows is noisy itself, and the threshold allows for it: 3 references, 300 windows."""
    rng = np.random.default_rng(SEED)
    alarms = []
    for _ in range(3):
        small = Reference.of(drawn(rng, 300))
        alarms += [bool(small.detected(drawn(rng, 1_000))) for _ in range(100)]
    assert np.mean(alarms) <= 0.07


def test_a_shift_is_seen(references: list[Reference]) -> None:
    """A shift of half a standard deviation is detected in each of 50 windows of 200."""
    rng = np.random.default_rng(SEED)
    for _ in range(50):
        window = dict(drawn(rng, 200))
        window["hours"] = window["hours"] + 3.5
        assert "hours" in references[0].detected(window)
