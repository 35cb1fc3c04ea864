from __future__ import annotations

import pytest

from service.core import pacing
from service.core.pacing import PAUSE_ROWS, paced, pause_if_many


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The lengths of the pauses since the test began."""
    found: list[float] = []
    monkeypatch.setattr("service.core.pacing.time.sleep", found.append)
    return found


@pytest.mark.parametrize(("rows", "expected"), [(0, 0), (PAUSE_ROWS, 0), (PAUSE_ROWS + 1, 1), (3 * PAUSE_ROWS, 2)])
def test_a_pause_follows_each_part_but_the_last(pauses: list[float], rows: int, expected: int) -> None:
    """All items come in order; a single prediction or a small batch is not delayed."""
    assert list(paced(range(rows))) == list(range(rows))
    assert pauses == [pacing.PAUSE_S] * expected


@pytest.mark.parametrize(("rows", "expected"), [(1, 0), (PAUSE_ROWS, 0), (PAUSE_ROWS + 1, 1)])
def test_only_large_batches_pause_between_steps(pauses: list[float], rows: int, expected: int) -> None:
    """A step that took less than a millisecond is followed by the next one at once."""
    pause_if_many(rows)
    assert pauses == [pacing.PAUSE_S] * expected
