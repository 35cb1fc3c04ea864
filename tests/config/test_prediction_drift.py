from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from leeway.model.distances import cumulative_shares, wasserstein_normed
from leeway.telemetry import names
from tests.config.promtool import Case, rule_text, run_cases

Scores = npt.NDArray[np.float64]

RULES = {"prediction_drift.yaml": rule_text("prediction_drift.yaml")}
TOLERANCE = 0.02
TOLERANCE_IF_NARROW = 0.06  # of the distance
REFERENCE_ROWS, WINDOW_ROWS = 2_000, 1_500
_VERSION = 'leeway_model_version="v1"'


def churn_like(rng: np.random.Generator, rows: int) -> Scores:
    """Many low scores and a tail, like a churn model's."""
    return rng.beta(1.1, 3.2, rows)


def sure(rng: np.random.Generator, rows: int) -> Scores:
    """Two clusters near 0 and 1, like a confident model's."""
    return np.where(rng.random(rows) < 0.7, rng.beta(2, 20, rows), rng.beta(20, 2, rows))


def narrow(rng: np.random.Generator, rows: int) -> Scores:
    """Scores within about a tenth: the standard deviation is one bucket."""
    return rng.normal(0.4, 0.05, rows).clip(0, 1)


SHAPES = {"churn": churn_like, "sure": sure}
DRIFTS = {"none": 0.0, "mild": 0.05, "strong": 0.4}
"""The share of its distance to 1 by which each score moves."""


def drifted(scores: Scores, share: float) -> Scores:
    """Each score moved by a share of its distance to 1."""
    return np.asarray(scores + share * (1 - scores))


def reference_series(reference: Scores) -> dict[str, str]:
    """`leeway_model_score_reference` as the service exports it."""
    shares = cumulative_shares(reference, names.SCORE_BUCKETS)
    return {
        f'leeway_model_score_reference{{{_VERSION}, le="{bound}"}}': f"{share!r}x40"
        for bound, share in zip(names.SCORE_BUCKETS, shares, strict=True)
    }


def served_series(scores: Scores) -> dict[str, str]:
    """The score histogram of two instances, while `scores` are served every minute."""
    series = {}
    for instance, part in (("a", scores[::2]), ("b", scores[1::2])):
        labels = f'{_VERSION}, instance="{instance}"'
        counts = {str(bound): int(np.count_nonzero(part <= bound)) for bound in names.SCORE_BUCKETS}
        for bound, count in (counts | {"+Inf": part.size}).items():
            series[f'leeway_prediction_score_bucket{{{labels}, le="{bound}"}}'] = f"0+{count}x40"
        series[f"leeway_prediction_score_count{{{labels}}}"] = f"0+{part.size}x40"
    return series


def same_distance(name: str, reference: Scores, current: Scores, within: float = 0.0) -> Case:
    """The recorded distance is within 0.02, or this share, of the worker's."""
    expected = wasserstein_normed(reference, current)
    allowed = max(TOLERANCE, within * expected)
    return Case(
        name,
        reference_series(reference) | served_series(current),
        "1m",
        f"abs(leeway:score:wasserstein5m - {expected!r}) <= bool {allowed!r}",
        "20m",
        {f"{{{_VERSION}}}": 1.0},
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_prediction_drift_matches_the_worker(shape: str, tmp_path: Path) -> None:
    """Prometheus' distance from buckets is within 0.02 of the worker's, without drift, with mild and strong drift."""
    rng = np.random.default_rng(7)
    reference = SHAPES[shape](rng, REFERENCE_ROWS)
    cases = [
        same_distance(f"{shape}, drift: {name}", reference, drifted(SHAPES[shape](rng, WINDOW_ROWS), share))
        for name, share in DRIFTS.items()
    ]
    result = run_cases(tmp_path, cases, RULES, ["prediction-drift"])
    assert result.returncode == 0, result.stdout + result.stderr


def test_narrow_scores_are_close(tmp_path: Path) -> None:
    """If scores spread over hardly more than one bucket, the distance is within 6 % of the worker's."""
    rng = np.random.default_rng(7)
    reference = narrow(rng, REFERENCE_ROWS)
    cases = [
        same_distance(name, reference, drifted(narrow(rng, WINDOW_ROWS), share), TOLERANCE_IF_NARROW)
        for name, share in DRIFTS.items()
    ]
    result = run_cases(tmp_path, cases, RULES, ["prediction-drift"])
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_drifts_differ() -> None:
    """The cases above cover the range: none is below the threshold 0.1, mild around it, strong far beyond."""
    rng = np.random.default_rng(7)
    reference, current = churn_like(rng, REFERENCE_ROWS), churn_like(rng, WINDOW_ROWS)
    none, mild, strong = (wasserstein_normed(reference, drifted(current, share)) for share in DRIFTS.values())
    assert none < 0.1 < mild < 0.4
    assert strong > 1
