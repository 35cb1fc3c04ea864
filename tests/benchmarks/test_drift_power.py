from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drift_power import Power, measure_power, power_page
from leeway.schema import CHURN_SCHEMA


@pytest.fixture(scope="module")
def small_power() -> Power:
    """A power table of two sizes and few windows."""
    return measure_power((200, 1_000), windows=10)


@pytest.mark.long
def test_more_subjects_detect_smaller_shifts(small_power: Power) -> None:
    """A larger window detects smaller shifts, for every feature."""
    for name, (_, (small, large)) in small_power.rows.items():
        assert small is not None, name
        assert large is not None, name
        assert 0 < large < small + 0.03 < 0.5, name  # with ten windows per step, a step or two is chance
    assert sum(large for _, (_, large) in small_power.rows.values() if large) < sum(
        small for _, (small, _) in small_power.rows.values() if small
    )


@pytest.mark.long
def test_the_power_table_is_deterministic(small_power: Power) -> None:
    """The same seed gives the same table."""
    assert measure_power((200, 1_000), windows=10) == small_power


@pytest.mark.long
def test_the_power_page_has_a_row_for_each_feature(small_power: Power) -> None:
    """The page names every feature, and so does the one in docs/."""
    page = power_page(small_power, (200, 1_000))
    committed = (Path(__file__).parents[2] / "docs" / "drift-power.md").read_text(encoding="utf-8")
    for name in CHURN_SCHEMA.names:
        assert f"| `{name}` |" in page
        assert f"| `{name}` |" in committed
