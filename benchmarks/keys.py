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
CALLS: Final = 5_000
ROUNDS: Final = 50
MOST_US: Final = 2.0


def microseconds(cases: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """The processor time of a call of each case, which is called with numbers: the least of several rounds.

    Each round measures all cases, so that a busy machine slows none of them more than the others.
    """

    def measure(call: Callable[[int], object]) -> float:
        began_ns = time.process_time_ns()
        for number in range(CALLS):
            call(number)
        return (time.process_time_ns() - began_ns) / CALLS / 1_000

    rounds = [{case: measure(call) for case, call in cases.items()} for _ in range(ROUNDS)]
    return {case: min(each[case] for each in rounds) for case in cases}


def main() -> int:
    """Print the cost with the key of the last request, another key, and an unknown one; 1 if a known key's is over."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        keys = [add_key(file, f"client-{number}", [Scope.PREDICT]).encode() for number in range(KEYS)]
        gate = Gate(KeyRing(file), KeyProbe())
        one, many, stranger = (ConnectionKey(gate) for _ in range(3))
        others = [(b"host", b"localhost"), (b"user-agent", b"curl"), (b"content-type", b"application/json")]
        requests = [[*others, (b"authorization", b"Bearer " + key)] for key in keys]
        unknown = [*others, (b"authorization", b"Bearer " + keys[0] + b"x")]
        found_us = microseconds(
            {
                "the connection's last key": lambda _: one.admits(requests[0]),
                f"another of {KEYS} keys": lambda number: many.admits(requests[number % KEYS]),
                "an unknown key": lambda _: stranger.admits(unknown),
            }
        )
    for case, us in found_us.items():
        print(f"{case}: {us:.2f} µs a request")
    *known_us, _ = found_us.values()
    return 1 if max(known_us) > MOST_US else 0


if __name__ == "__main__":
    sys.exit(main())
