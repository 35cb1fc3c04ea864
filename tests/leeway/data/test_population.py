from __future__ import annotations

import re
import time
from statistics import fmean, pstdev

import numpy as np
import pytest

from leeway.data.churn_risk import SERVICES
from leeway.data.population import CUSTOMERS, Population, population
from leeway.schema import CHURN_SCHEMA
from tests.leeway.data.measured import MOVED, numbers


def correlation(made: Population, one: str, other: str) -> float:
    """Pearson's correlation of two features."""
    return float(np.corrcoef(numbers(made, one), numbers(made, other))[0, 1])


def test_the_same_arguments_give_the_same_customers(first: Population) -> None:
    """A population is reproducible."""
    assert population() == first


def test_another_seed_gives_other_customers(first: Population) -> None:
    """The seed changes features and labels."""
    other = population(seed=8)
    assert other.columns["watch_hours_30d"] != first.columns["watch_hours_30d"]
    assert other.labels != first.labels


def test_a_smaller_population_is_the_start_of_a_larger_one(first: Population) -> None:
    """The number of customers does not change the first ones."""
    few = population(customers=50)
    assert few.user_ids == first.user_ids[:50]
    assert few.labels == first.labels[:50]
    assert [few.row(place) for place in range(50)] == [first.row(place) for place in range(50)]


def test_ids(first: Population) -> None:
    """Ids are four digits, a dash and five capitals, each unique; the first one is fixed."""
    assert len(first) == len(set(first.user_ids)) == CUSTOMERS == 7_043
    assert first.user_ids[0] == "7590-VHVEG"
    assert all(re.fullmatch(r"\d{4}-[A-Z]{5}", user_id) for user_id in first.user_ids)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_every_customer_is_valid(drift: float) -> None:
    """Every row is valid with and without drift, and columns are in the schema's order."""
    made = population(3, covariate_drift=drift)
    assert tuple(made.columns) == CHURN_SCHEMA.names
    assert [CHURN_SCHEMA.problems(made.row(place)) for place in range(len(made))] == [{}] * len(made)


def test_streaming_is_missing_without_internet_and_only_then(first: Population) -> None:
    """Nulls are where the real extracts have them."""
    without = [service == "No" for service in first.columns["net_service"]]
    for name in ("plan_stream_tv", "plan_stream_movies"):
        assert [value is None for value in first.columns[name]] == without


def test_shares_of_connections(first: Population) -> None:
    """About 34 % have DSL, 44 % fibre and 22 % no internet."""
    shares = [fmean(service == name for service in first.columns["net_service"]) for name in SERVICES]
    assert shares == pytest.approx([0.34, 0.44, 0.22], abs=0.02)


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "lowest", "highest"),
    [
        ("months_active", 33, 24.8, 0, 72),
        ("monthly_fee", 65, 29, 18, 119),
        ("watch_hours_30d", 30, 6.5, 0, 70),
        ("avg_session_mins_7d", 28.5, 8.5, 4, 130),
        ("unique_devices_30d", 2, 0.82, 1, 3),
        ("skips_7d", 5, 2.3, 0, 25),
        ("rebuffer_events_7d", 2.35, 1.6, 0, 18),
        ("failed_payments_90d", 0.17, 0.41, 0, 6),
        ("support_tickets_90d", 0.3, 0.56, 0, 8),
        ("ticket_avg_resolution_hrs_90d", 10, 3.85, 1, 35),
    ],
)
def test_marginals(first: Population, name: str, mean: float, deviation: float, lowest: float, highest: float) -> None:
    """Each number has about the mean, spread and range of a real provider's."""
    values = numbers(first, name)
    assert fmean(values) == pytest.approx(mean, rel=0.06)
    assert pstdev(values) == pytest.approx(deviation, rel=0.08)
    assert lowest <= values.min() <= values.max() <= highest


def test_months_are_u_shaped(first: Population) -> None:
    """There are many new and many old customers, and fewer in between."""
    counts, _ = np.histogram(numbers(first, "months_active"), bins=6, range=(0, 72))
    assert counts[0] > 1.5 * counts[2]
    assert counts[5] > 1.5 * counts[3]


def test_features_are_correlated(first: Population) -> None:
    """Fees depend on the connection, hours on the fee, stalls on DSL, and tickets on stalls."""
    fees, service = numbers(first, "monthly_fee"), numbers(first, "net_service")
    assert [fmean(fees[service == place]) for place in range(3)] == pytest.approx([58, 91, 21], rel=0.1)
    assert correlation(first, "monthly_fee", "watch_hours_30d") > 0.35
    assert correlation(first, "monthly_fee", "months_active") > 0.1
    assert correlation(first, "rebuffer_events_7d", "net_service") < -0.2
    assert correlation(first, "rebuffer_events_7d", "support_tickets_90d") > 0.1


def test_customers_get_older(first: Population) -> None:
    """A month later, nine in ten have been active one month longer (72 at most); the others started a new contract."""
    pairs = list(zip(numbers(first, "months_active"), numbers(population(1), "months_active"), strict=True))
    assert all(after in (min(before + 1, 72), 0) for before, after in pairs)
    assert fmean(after == min(before + 1, 72) for before, after in pairs) > 0.9


def test_customers_keep_their_traits(first: Population) -> None:
    """A month later, connection, plans and fee are the same, and habits stay near each customer's level."""
    later = population(1)
    for name in ("net_service", "plan_stream_tv", "plan_stream_movies", "paperless_billing", "monthly_fee"):
        assert later.columns[name] == first.columns[name]
    for name in ("watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d"):
        assert np.corrcoef(numbers(first, name), numbers(later, name))[0, 1] > 0.5
        assert later.columns[name] != first.columns[name]


def test_invalid_arguments_are_rejected() -> None:
    """A strength beyond 1 or a negative month is an error."""
    for strength in (1.1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            population(covariate_drift=strength)
        with pytest.raises(ValueError, match="between 0 and 1"):
            population(concept_drift=strength)
    with pytest.raises(ValueError, match="must not be negative"):
        population(-1)


def test_a_population_takes_half_a_second() -> None:
    """All 7,043 customers are generated in that processor time, whatever else the machine does."""
    start = time.process_time()
    population(5)
    assert time.process_time() - start < 0.5


def distances(reference: Population, current: Population) -> dict[str, float]:
    """Normed Wasserstein distance of each feature; both populations have the same size and the same gaps."""
    found = {}
    for name in CHURN_SCHEMA.names:
        before, after = np.sort(numbers(reference, name)), np.sort(numbers(current, name))
        found[name] = float(np.abs(before - after).mean() / max(before.std(), 0.001))
    return found


@pytest.mark.parametrize("month", [1, 2, 12, 60])
def test_there_is_no_drift_by_default(first: Population, month: int) -> None:
    """However many months later, no feature moves by 0.1."""
    assert max(distances(first, population(month)).values()) < 0.1


def test_covariate_drift_moves_the_documented_features(first: Population) -> None:
    """At full strength they move far beyond 0.3, and no other feature moves."""
    found = distances(first, population(1, covariate_drift=1.0))
    assert {name for name, distance in found.items() if distance > 0.6} == MOVED
    assert max(distance for name, distance in found.items() if name not in MOVED) < 0.1


def test_covariate_drift_grows_with_its_strength(first: Population) -> None:
    """Half the strength moves each feature about half as far."""
    half = distances(first, population(1, covariate_drift=0.5))
    full = distances(first, population(1, covariate_drift=1.0))
    assert [half[name] / full[name] for name in sorted(MOVED)] == pytest.approx([0.5] * len(MOVED), abs=0.06)


def test_covariate_drift_has_the_documented_direction(first: Population) -> None:
    """Hours and sessions get shorter; stalls, skips, tickets and their resolution times increase."""
    drifted = population(covariate_drift=1.0)
    falls = {name for name in MOVED if fmean(numbers(drifted, name)) < fmean(numbers(first, name))}
    assert falls == {"watch_hours_30d", "avg_session_mins_7d"}
