"""What an API key adds to a request on the fast path, in processor time: `python -m benchmarks.keys`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from leeway.keys import KeyRing, Scope, add_key
from service.http.keys import ConnectionKey, Gate
from service.telemetry.probe import KeyProbe

KEYS: Final = 100
CALLS: Final = 50_000
ROUNDS: Final = 5
MOST_US: Final = 2.0


def microseconds(call: Callable[[], object]) -> float:
    """The processor time of a call: the least of several rounds."""

    def measure() -> int:
        began_ns = time.process_time_ns()
        for _ in range(CALLS):
            call()
        return time.process_time_ns() - began_ns

    return min(measure() for _ in range(ROUNDS)) / CALLS / 1_000


def main() -> int:
    """Print the cost with the key of the last request, and with another key; 1 if the first is over the limit."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        keys = [add_key(file, f"client-{number}", [Scope.PREDICT]).encode() for number in range(KEYS)]
        connection = ConnectionKey(Gate(KeyRing(file), KeyProbe()))
        others = [(b"host", b"localhost"), (b"user-agent", b"curl"), (b"content-type", b"application/json")]
        one, another = ([*others, (b"authorization", b"Bearer " + key)] for key in keys[:2])

        def alternate() -> None:
            connection.admits(one)
            connection.admits(another)

        same_us = microseconds(lambda: connection.admits(one))
        print(f"the same key: {same_us:.2f} µs a request")
        print(f"another key:  {microseconds(alternate) / 2:.2f} µs a request, of {KEYS} keys")
        return 1 if same_us > MOST_US else 0


if __name__ == "__main__":
    sys.exit(main())
