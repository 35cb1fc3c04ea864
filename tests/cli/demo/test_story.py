from __future__ import annotations

import pytest

from cli.demo.story import LASTS_S, SHORTEST_S, story
from cli.demo.workshop import Pace


def test_story_lasts_about_a_minute() -> None:
    """With what goes before it the story fits into a minute, and squeezed it is as long as asked."""
    assert 45 <= LASTS_S <= 55
    assert sum(act.lasts_s for act in story(SHORTEST_S)) == pytest.approx(SHORTEST_S)


@pytest.mark.parametrize(("lasts_s", "rate"), [(SHORTEST_S, 20), (SHORTEST_S, 100), (LASTS_S, 50), (600, 50)])
def test_pace_leaves_enough_to_compare(lasts_s: float, rate: float) -> None:
    """However short or slow the story, a window holds more than the 200 subjects that are needed, and 200 labels."""
    pace = Pace.of(lasts_s, rate)
    assert pace.window_s * rate * 2 > 250
    assert pace.labels >= 250
