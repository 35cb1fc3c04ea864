from __future__ import annotations

import pytest

from benchmarks.kills import Outcome, run
from leeway.model.bundle import Bundle

KILLS = 6


@pytest.fixture(scope="module")
def outcome(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The short form of `python -m benchmarks.kills`: a third of the kills meet the service, the others its drainer."""
    return run(bundle.folder, tmp_path_factory.mktemp("kills"), KILLS, share=1 / 3)


@pytest.mark.long
def test_no_recorded_answer_is_lost_or_doubled(outcome: Outcome) -> None:
    """Every prediction that was answered as recorded is in the database exactly once."""
    assert (outcome.kills["service"], outcome.kills["drainer"]) == (2, 4)
    assert len(outcome.recorded) > KILLS
    assert (outcome.lost, outcome.doubled) == (set(), [])


@pytest.mark.long
def test_a_killed_drainer_fails_no_request(outcome: Outcome) -> None:
    """All answers are 200 and recorded."""
    assert (outcome.errors, outcome.unrecorded) == ({}, 0)


def test_a_loss_would_be_noticed() -> None:
    """The figures are made from the answers and the rows, so that neither hides the other."""
    made = Outcome(recorded=["a", "b"])
    made.stored.update(["a", "c", "c"])
    assert (made.lost, made.doubled, "lost: 1, doubled: 1" in str(made)) == ({"b"}, ["c"], True)


def test_the_figures_of_several_services_add_up() -> None:
    """A loss in one of them is one in all."""
    whole = Outcome()
    for name, stored in (("a", ["a1", "a2"]), ("b", ["b1", "b1"])):
        one = Outcome(recorded=[f"{name}1", f"{name}2"], unrecorded=1, service_restarts_s=[1.0])
        one.kills["service"] += 2
        one.stored.update(stored)
        whole.add(one)
    assert (whole.lost, whole.doubled, whole.unrecorded, whole.kills["service"]) == ({"b2"}, ["b1"], 2, 4)
    assert whole.service_restarts_s == [1.0, 1.0]
