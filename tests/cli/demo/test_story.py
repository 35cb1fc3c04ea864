from __future__ import annotations

import pytest

from cli.demo.story import LASTS_S, SHORTEST_S, story
from cli.demo.workspace import DemoTiming


def test_story_lasts_about_a_minute() -> None:
    """With the preparation the story takes about a minute, and it can be shortened."""
    assert 45 <= LASTS_S <= 55
    assert sum(act.lasts_s for act in story(SHORTEST_S)) == pytest.approx(SHORTEST_S)


@pytest.mark.parametrize(("lasts_s", "rate"), [(SHORTEST_S, 20), (SHORTEST_S, 100), (LASTS_S, 50), (600, 50)])
def test_windows_are_large_enough(lasts_s: float, rate: float) -> None:
    """Even a short or slow story has the 200 subjects and 200 labels per window that a comparison needs."""
    timing = DemoTiming.of(lasts_s, rate)
    assert timing.window_s * rate * 2 > 250
    assert timing.labels >= 250
