from __future__ import annotations

import pytest

from drift.verdicts.confirmation import Policy
from tests.drift.cycles import RATE, WINDOW_S, World, repeat
from tests.drift.standins import RememberingProbe, calm_rows, shifted_rows


def test_windows_that_overlap_confirm_nothing(drifting: World, probe: RememberingProbe) -> None:
    """An interval of 60 s and a window of 900 s: RETRAIN comes with the third window that overlaps none before it."""
    repeat(drifting, drifting.cycle(probe), 31)
    assert probe.ended == ["INVESTIGATE"] * 30 + ["RETRAIN"]


def test_the_count_survives_a_restart(drifting: World) -> None:
    """With a new process for each window the third one confirms all the same."""
    ended = []
    for _ in range(3):
        probe = RememberingProbe()
        repeat(drifting, drifting.cycle(probe), 1, WINDOW_S)
        ended += probe.ended
    assert ended == ["INVESTIGATE", "INVESTIGATE", "RETRAIN"]


def test_the_cooldown_survives_a_restart(world: World, probe: RememberingProbe) -> None:
    """Drift, calm, drift: a RETRAIN within an hour of the last one is held back, also by a new process."""
    world.serve(shifted_rows(RATE), 0)
    world.serve(calm_rows(RATE), WINDOW_S)
    world.serve(shifted_rows(RATE), 2 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    policy = Policy(breaches=1)
    repeat(world, world.cycle(probe, policy=policy), 2, WINDOW_S)
    repeat(world, world.cycle(probe, policy=policy), 1, WINDOW_S)
    assert probe.ended == ["RETRAIN", "NO_ACTION", "INVESTIGATE"]
    assert "no new one before 2026-03-01T13:15:00" in probe.results[-1].reason


def test_a_new_model_starts_a_new_count(drifting: World, probe: RememberingProbe) -> None:
    """A bundle written over the old one is picked up, and what was confirmed of the old model is forgotten."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    before = drifting.bundle.version
    after = drifting.train_again().version
    repeat(drifting, cycle, 2, WINDOW_S)
    assert [result.model.version for result in probe.results] == [before, before, after, after]
    assert probe.ended == ["INVESTIGATE"] * 4


def test_the_last_result_is_taken_up_after_a_restart(calm: World, probe: RememberingProbe) -> None:
    """A new process reports what the old one saw, before its own first look is done."""
    calm.cycle(probe)()
    again = RememberingProbe()
    calm.cycle(again)()
    assert again.restorations == probe.results


def test_a_state_that_cannot_be_read_starts_again(
    drifting: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """A row of another version of this program costs the count, not the run."""
    drifting.cycle(probe)()
    with drifting.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE drift_runs SET state = '{}'")
    drifting.cycle(probe)()
    assert probe.ended == ["INVESTIGATE"] * 2
    assert "confirmation starts again" in caplog.text
