from __future__ import annotations

import json
from itertools import islice, takewhile

import pytest

from cli.demo.story import LASTS_S, starts_s, story
from cli.demo.traffic import requests, strengths
from cli.traffic.plan import Planned
from cli.traffic.rows import PopulationRows

RATE = 20.0


@pytest.fixture(scope="module")
def planned() -> list[Planned]:
    """The requests of the story up to the end of its last act."""
    acts = story()
    rows = PopulationRows(strengths(acts), month=1)
    return list(takewhile(lambda each: each.due_s < LASTS_S, requests(acts, RATE, rows, rows.user_ids)))


def of_act(planned: list[Planned], key: str) -> list[Planned]:
    """The requests that are due in one act."""
    acts = story()
    place = [act.key for act in acts].index(key)
    start_s = starts_s(acts)[place]
    return [each for each in planned if start_s <= each.due_s < start_s + acts[place].lasts_s]


def test_requests_come_in_order_and_at_the_rate(planned: list[Planned]) -> None:
    """Requests of all acts are due one after the other, about so many a second."""
    due_s = [each.due_s for each in planned]
    assert due_s == sorted(due_s)
    assert len(planned) == pytest.approx(RATE * LASTS_S, rel=0.1)


@pytest.mark.parametrize("key", ["calm", "mended", "slow", "green", "labels"])
def test_inputs_drift_in_one_act_alone(planned: list[Planned], key: str) -> None:
    """No request of any other act drifts: where scoring slows, its inputs are as in training."""
    assert {each.drift for each in of_act(planned, key)} == {0.0}


def test_drift_rises_to_its_full_strength(planned: list[Planned]) -> None:
    """In its act drift rises, ends at full strength, and goes by features: snapshots do not drift."""
    strength = [each.drift for each in of_act(planned, "drift")]
    assert strength == sorted(strength)
    assert (strength[0] < 0.2, strength[-1]) == (True, 1.0)
    assert "customer" not in {each.kind for each in of_act(planned, "drift")}


def test_truth_turns_when_all_is_green(planned: list[Planned]) -> None:
    """From the fifth act on the truth has turned, whole and at once, and never before."""
    assert {each.turned for key in ("green", "labels") for each in of_act(planned, key)} == {1.0}
    assert {each.turned for key in ("calm", "drift", "mended", "slow") for each in of_act(planned, key)} == {0.0}


def test_last_act_goes_on() -> None:
    """The last act's requests have no end: the last comparison may be late."""
    acts = story(15)
    rows = PopulationRows(strengths(acts), month=1)
    last = list(islice(requests(acts, RATE, rows, ()), 1_000))[-1]
    assert last.due_s > 30
    assert json.loads(last.body)
