from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leeway.model.distances import Method, cumulative_shares, jensenshannon, method_for, wasserstein_normed
from leeway.schema import Kind
from leeway.telemetry.names import SCORE_BUCKETS
from tests.leeway.model.distances.columns import NAN, categorical_pairs, numeric_pairs


@pytest.fixture(scope="module")
def by_evidently() -> Mapping[str, float]:
    """Evidently's scores of all those columns, each handed over as the detector hands it over."""
    numeric, categorical = numeric_pairs(), categorical_pairs()
    with warnings.catch_warnings():
        # Its import calls what numpy and litestar call deprecated, and its picture of a column divides by zero.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 (five seconds: only for these tests)
        from evidently.metrics import ValueDrift  # noqa: PLC0415 (the same)

        definition = DataDefinition(numerical_columns=list(numeric), categorical_columns=list(categorical))
        pairs = numeric | categorical
        reference = pd.DataFrame({name: before for name, (before, _) in pairs.items()})
        current = pd.DataFrame({name: after for name, (_, after) in pairs.items()})
        metrics = [ValueDrift(column=name, method="wasserstein", threshold=0.1) for name in numeric]
        metrics += [ValueDrift(column=name, method="jensenshannon", threshold=0.1) for name in categorical]
        snapshot = Report(metrics).run(
            Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
        )
        found = snapshot.dict()["metrics"]
    return {metric["config"]["column"]: float(metric["value"]) for metric in found}


@pytest.mark.parametrize("name", numeric_pairs())
def test_wasserstein_is_evidentlys(name: str, by_evidently: Mapping[str, float]) -> None:
    """For the same rows both give the same distance within 1e-9."""
    assert wasserstein_normed(*numeric_pairs()[name]) == pytest.approx(by_evidently[name], abs=1e-9)


@pytest.mark.parametrize("name", categorical_pairs())
def test_jensenshannon_is_evidentlys(name: str, by_evidently: Mapping[str, float]) -> None:
    """For the same rows both give the same distance within 1e-9."""
    assert jensenshannon(*categorical_pairs()[name]) == pytest.approx(by_evidently[name], abs=1e-9)


def test_an_empty_column_has_no_distance() -> None:
    """Where nothing is present on one side both distances raise, as Evidently does."""
    for distance in (wasserstein_normed, jensenshannon):
        for pair in (([1.0, 2.0], [NAN, NAN]), ([NAN], [1.0, 2.0])):
            with pytest.raises(ValueError, match="nothing to compare"):
                distance(*pair)


def test_pandas_na_is_refused() -> None:
    """The missing value of pandas is an error, not one more category."""
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
    """Numeric with more than five distinct values present: Wasserstein; all else: Jensen–Shannon."""
    assert method_for(kind, values) == method


def test_cumulative_shares() -> None:
    """Each bound has the share of scores at or under it, the last bound all of them."""
    assert cumulative_shares([0.05, 0.3, 0.3, 1.0], (0.05, 0.299, 0.3, 1.0)) == (0.25, 0.25, 0.75, 1.0)
    shares = cumulative_shares(np.random.default_rng(1).random(1_000), SCORE_BUCKETS)
    assert len(shares) == len(SCORE_BUCKETS)
    assert shares[-1] == 1


def test_cumulative_shares_need_a_score() -> None:
    """Of no scores there are no shares."""
    with pytest.raises(ValueError, match="no value is present"):
        cumulative_shares([], SCORE_BUCKETS)
