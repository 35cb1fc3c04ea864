from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from leeway.data.population import Population, population
from leeway.schema import CHURN_SCHEMA
from tests.leeway.data.population.measured import MOVED, numbers


def distances(reference: Population, current: Population) -> dict[str, float]:
    """Normed Wasserstein distance of each feature (both populations are of one size and miss the same values)."""
    found = {}
    for name in CHURN_SCHEMA.names:
        before, after = np.sort(numbers(reference, name)), np.sort(numbers(current, name))
        found[name] = float(np.abs(before - after).mean() / max(before.std(), 0.001))
    return found


@pytest.mark.parametrize("month", [1, 2, 12, 60])
def test_no_drift_without_being_asked_for(first: Population, month: int) -> None:
    """However much later, no feature moves by as much as 0.1."""
    assert max(distances(first, population(month)).values()) < 0.1


def test_covariate_drift_moves_what_it_says(first: Population) -> None:
    """At full strength the stated features move far beyond 0.3, and no other moves."""
    found = distances(first, population(1, covariate_drift=1.0))
    assert {name for name, distance in found.items() if distance > 0.6} == MOVED
    assert max(distance for name, distance in found.items() if name not in MOVED) < 0.1


def test_covariate_drift_grows_with_its_strength(first: Population) -> None:
    """Half the strength moves each stated feature about half as far."""
    half = distances(first, population(1, covariate_drift=0.5))
    full = distances(first, population(1, covariate_drift=1.0))
    assert [half[name] / full[name] for name in sorted(MOVED)] == pytest.approx([0.5] * len(MOVED), abs=0.06)


def test_covariate_drift_goes_the_way_it_says(first: Population) -> None:
    """Less is watched, in shorter sessions; there are more stalls, skips and tickets, and these take longer."""
    drifted = population(covariate_drift=1.0)
    falls = {name for name in MOVED if fmean(numbers(drifted, name)) < fmean(numbers(first, name))}
    assert falls == {"watch_hours_30d", "avg_session_mins_7d"}
