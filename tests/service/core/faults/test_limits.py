from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.core.faults import FAULTS, Faults


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"no_snapshots": False},
        {"slow_scoring": {"milliseconds": 0}},
        {"slow_scoring": {"milliseconds": 5_001}},
        {"slow_scoring": {"milliseconds": float("nan")}},
        {"slow_snapshots": {"milliseconds": 80, "probability": 0}},
        {"errors": {"probability": 1.1}},
        {"errors": {}},
        {"fire": True},
    ],
)
def test_nonsense_is_no_fault(faults: dict[str, Any]) -> None:
    """None at all, unknown ones, and values beyond their limits are refused."""
    with pytest.raises(ValidationError):
        Faults.model_validate(faults)


def test_faults_are_known_by_four_names() -> None:
    """The names that metrics, spans and requests share."""
    assert FAULTS == ("slow_scoring", "slow_snapshots", "no_snapshots", "errors")
