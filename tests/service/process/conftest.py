"""What processes are asked, and what an entry point that runs in this process must give back."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.shutdown import STOP_SIGNALS


@pytest.fixture(scope="module")
def example(bundle: Bundle) -> dict[str, Any]:
    """A valid body of a prediction."""
    return {"features": dict(bundle.card.example)}


@pytest.fixture
def entry_point() -> Iterator[None]:
    """Restore what an entry point takes over: the root logger and the stop signals."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    signals = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    root.handlers.clear()  # so that none of them is closed
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)
