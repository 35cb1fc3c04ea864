from __future__ import annotations

import socket
import time

from drift.verdicts.confirmation import Policy
from drift.webhook import Webhook
from tests.drift.cycles import RATE, WINDOW_S, World, repeat
from tests.drift.standins import RememberingProbe, calm_rows, shifted_rows
from tests.drift.test_webhook import receiver


def test_only_a_change_is_posted(world: World, probe: RememberingProbe) -> None:
    """Calm, drift twice, a quiet window, drift, calm: two events, one for each change, none for UNKNOWN."""
    world.serve(calm_rows(RATE), 0)
    world.serve(shifted_rows(2 * RATE), WINDOW_S, seconds=2 * WINDOW_S)
    world.serve(shifted_rows(RATE), 4 * WINDOW_S)
    world.serve(calm_rows(RATE), 5 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    with receiver([200]) as (url, came):
        hook = Webhook(url, source="http://reports")
        repeat(world, world.cycle(probe, webhook=hook, policy=Policy(breaches=9)), 6, WINDOW_S)
        hook.close(timeout_s=5)
    assert probe.ended == ["NO_ACTION", "INVESTIGATE", "INVESTIGATE", "too_few_rows", "INVESTIGATE", "NO_ACTION"]
    assert [(event["data"]["previous"], event["data"]["recommendation"]) for event in came] == [
        ("NO_ACTION", "INVESTIGATE"),
        ("INVESTIGATE", "NO_ACTION"),
    ]
    assert [event["id"] for event in came] == [probe.results[1].run_id, probe.results[4].run_id]


def test_what_was_told_before_a_restart_is_not_told_again(drifting: World, probe: RememberingProbe) -> None:
    """A new process that recommends the same has nothing to post."""
    with receiver([200]) as (url, came):
        for _ in range(2):
            hook = Webhook(url, source="http://reports")
            drifting.cycle(probe, webhook=hook)()
            hook.close(timeout_s=5)
    assert len(came) == 1


def test_a_receiver_that_hangs_holds_up_no_cycle(drifting: World, probe: RememberingProbe) -> None:
    """A receiver that takes the connection and never answers costs the cycle nothing."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hook = Webhook(f"http://127.0.0.1:{hanging.getsockname()[1]}/hook", source="s", pause=lambda _s: None)
        started = time.monotonic()
        drifting.cycle(probe, webhook=hook)()
        elapsed_s = time.monotonic() - started
        assert hook._thread.is_alive()
    hook.close(timeout_s=10)  # the connection is reset when the receiver closes
    assert probe.ended == ["INVESTIGATE"]
    assert elapsed_s < 3
