from __future__ import annotations

from threading import Timer

import pytest

from cli.doctor.check import Deadline

SOON_S = 0.3


def test_waiting_ends_when_something_is_found() -> None:
    """The first value that is not None is returned at once; False is a value."""
    seen = iter([None, None, False])
    deadline = Deadline(10)
    assert deadline.wait_for(lambda: next(seen)) is False
    assert deadline.waited_s < 5


def test_waiting_ends_at_the_deadline() -> None:
    """If nothing is found in time, the result is None."""
    deadline = Deadline(SOON_S)
    assert deadline.wait_for(lambda: None) is None
    assert SOON_S <= deadline.waited_s < 5


def test_deadlines_share_their_start() -> None:
    """A longer deadline made from a shorter one has the same start."""
    deadline = Deadline(0.0)
    longer = deadline.of(SOON_S)
    seen = iter([None, None, True])
    assert deadline.wait_for(lambda: None) is None
    assert longer.wait_for(lambda: next(seen)) is True
    assert longer.waited_s == pytest.approx(deadline.waited_s, abs=0.05)


def test_give_up_ends_all_waiting() -> None:
    """Giving up ends the waiting of all deadlines with the same start: Ctrl-C does not wait."""
    deadline = Deadline(60)
    giving_up = Timer(0.05, deadline.give_up)
    giving_up.start()
    assert deadline.wait_for(lambda: None) is None
    assert deadline.of(90).wait_for(lambda: None) is None
    giving_up.join()
    assert deadline.waited_s < 5
