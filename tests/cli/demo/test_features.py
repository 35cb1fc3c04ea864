from __future__ import annotations

from typing import Any

import pytest

from cli.demo.features import MOST_BINS, shifts
from leeway.data.population import Population, population
from leeway.store.predictions import PredictionWindow
from tests.cli.demo.example_run import at


def window(people: Population) -> PredictionWindow:
    """These customers as predictions of one window."""
    columns: dict[str, list[Any]] = {"prediction_id": people.user_ids}
    return PredictionWindow(at(0), at(6), len(people), len(people), people.columns, columns)


BEFORE = window(population(customers=800))
AFTER = window(population(customers=600, covariate_drift=1.0))


@pytest.mark.parametrize("name", ["watch_hours_30d", "rebuffer_events_7d", "support_tickets_90d"])
def test_shares_add_up_to_one(name: str) -> None:
    """The shares before and after add up to one, in the same bins, whose number is limited."""
    (found,) = shifts(BEFORE, AFTER, [name])
    assert sum(found.before) == pytest.approx(1)
    assert sum(found.after) == pytest.approx(1)
    assert len(found.before) == len(found.after) <= MOST_BINS + 1


def test_means_show_the_shift() -> None:
    """A feature that drift lowers has a lower mean afterwards."""
    (found,) = shifts(BEFORE, AFTER, ["watch_hours_30d"])
    assert found.mean_before - found.mean_after == pytest.approx(5, abs=1)


def test_small_counts_have_a_bin_each() -> None:
    """The first bin holds the customers without a ticket, and no others."""
    (found,) = shifts(BEFORE, AFTER, ["support_tickets_90d"])
    tickets = BEFORE.features["support_tickets_90d"]
    assert found.before[0] == pytest.approx(tickets.count(0) / len(tickets))


def test_only_numbers_are_compared() -> None:
    """Flags and categories are left out; the others keep their order."""
    found = shifts(BEFORE, AFTER, ["skips_7d", "net_service", "plan_stream_tv", "monthly_fee"])
    assert [each.feature for each in found] == ["skips_7d", "monthly_fee"]
    assert found[0].unit == ""


def test_an_empty_window_is_left_out() -> None:
    """Without values before or after there is nothing to compare."""
    nobody = PredictionWindow(at(0), at(6), 0, 0, {name: [] for name in BEFORE.features}, {"prediction_id": []})
    assert shifts(BEFORE, nobody, ["skips_7d"]) == []
