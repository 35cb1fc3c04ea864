from __future__ import annotations

import threading
import time

from drift.worker import run


def test_the_loop_goes_on_until_it_is_told_to_stop() -> None:
    """The first cycle comes at once, the next after the interval, and none after the stop."""
    stop, calls = threading.Event(), []

    def cycle() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            stop.set()

    run(cycle, stop, interval_s=0.05)
    assert len(calls) == 3
    assert calls[2] - calls[0] >= 0.1
