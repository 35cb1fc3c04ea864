from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from leeway.model.distances import cumulative_shares, wasserstein_normed
from leeway.telemetry import names
from tests.config.promtool_cases import Case, rule_text, run_cases

Scores = npt.NDArray[np.float64]

RULES = {"prediction_drift.yaml": rule_text("prediction_drift.yaml")}
AS_CLOSE = 0.02
AS_CLOSE_IF_NARROW = 0.06  # of the distance
REFERENCE_ROWS, WINDOW_ROWS = 2_000, 1_500
_VERSION = 'leeway_model_version="v1"'


def churn_like(rng: np.random.Generator, rows: int) -> Scores:
    """Many low scores and a tail, as churn models give."""
    return rng.beta(1.1, 3.2, rows)


def sure(rng: np.random.Generator, rows: int) -> Scores:
    """Two heaps near 0 and 1, as of a model that is sure."""
    return np.where(rng.random(rows) < 0.7, rng.beta(2, 20, rows), rng.beta(20, 2, rows))


def narrow(rng: np.random.Generator, rows: int) -> Scores:
    """All scores within a tenth or so: the standard deviation is as wide as a bucket."""
    return rng.normal(0.4, 0.05, rows).clip(0, 1)


SHAPES = {"churn": churn_like, "sure": sure}
DRIFTS = {"none": 0.0, "mild": 0.05, "strong": 0.4}
"""By which share of its way to 1 each score moves."""


def drifted(scores: Scores, share: float) -> Scores:
    """Every score moved by this share of its way to 1."""
    return np.asarray(scores + share * (1 - scores))


def reference_series(reference: Scores) -> dict[str, str]:
    """`leeway_model_score_reference` as the service exports it."""
    shares = cumulative_shares(reference, names.SCORE_BUCKETS)
    return {
        f'leeway_model_score_reference{{{_VERSION}, le="{bound}"}}': f"{share!r}x40"
        for bound, share in zip(names.SCORE_BUCKETS, shares, strict=True)
    }


def served_series(scores: Scores) -> dict[str, str]:
    """The score histogram while `scores` are served again every minute, by outcome."""
    series = {}
    for outcome, part in (("0", scores[scores < 0.5]), ("1", scores[scores >= 0.5])):
        labels = f'{_VERSION}, leeway_prediction_outcome="{outcome}"'
        counts = {str(bound): int(np.count_nonzero(part <= bound)) for bound in names.SCORE_BUCKETS}
        for bound, count in (counts | {"+Inf": part.size}).items():
            series[f'leeway_prediction_score_bucket{{{labels}, le="{bound}"}}'] = f"0+{count}x40"
        series[f"leeway_prediction_score_count{{{labels}}}"] = f"0+{part.size}x40"
    return series


def same_distance(name: str, reference: Scores, current: Scores, within: float = 0.0) -> Case:
    """The recorded distance is within 0.02 of the worker's, or within this share of it."""
    expected = wasserstein_normed(reference, current)
    allowed = max(AS_CLOSE, within * expected)
    return Case(
        name,
        reference_series(reference) | served_series(current),
        "1m",
        f"abs(leeway:score:wasserstein5m - {expected!r}) <= bool {allowed!r}",
        "20m",
        {f"{{{_VERSION}}}": 1.0},
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_prediction_drift_is_the_workers(shape: str, tmp_path: Path) -> None:
    """From buckets Prometheus computes the worker's distance within 0.02, at no drift, mild and strong drift."""
    rng = np.random.default_rng(7)
    reference = SHAPES[shape](rng, REFERENCE_ROWS)
    cases = [
        same_distance(f"{shape}, drift: {name}", reference, drifted(SHAPES[shape](rng, WINDOW_ROWS), share))
        for name, share in DRIFTS.items()
    ]
    result = run_cases(tmp_path, cases, RULES, ["prediction-drift"])
    assert result.returncode == 0, result.stdout + result.stderr


def test_narrow_scores_cost_little(tmp_path: Path) -> None:
    """Where the scores hardly spread over more than one bucket, the distance is still the worker's within 6 %."""
    rng = np.random.default_rng(7)
    reference = narrow(rng, REFERENCE_ROWS)
    cases = [
        same_distance(name, reference, drifted(narrow(rng, WINDOW_ROWS), share), AS_CLOSE_IF_NARROW)
        for name, share in DRIFTS.items()
    ]
    result = run_cases(tmp_path, cases, RULES, ["prediction-drift"])
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_drifts_are_told_apart() -> None:
    """The cases above span what matters: none is under Evidently's 0.1, mild about there, strong far beyond."""
    rng = np.random.default_rng(7)
    reference, current = churn_like(rng, REFERENCE_ROWS), churn_like(rng, WINDOW_ROWS)
    none, mild, strong = (wasserstein_normed(reference, drifted(current, share)) for share in DRIFTS.values())
    assert none < 0.1 < mild < 0.4
    assert strong > 1
