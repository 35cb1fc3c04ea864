"""The whole stack under load, with faults, outages and restarts, and then at rest: `python -m benchmarks.soak`.

Starts the stack of compose.yaml as a project of its own on free ports, sends 100 requests per second, and disturbs it
for the first half of the time. Exits 1 if an answered prediction is lost or stored twice, a request fails without a
reason, an alert fires that should not or does not fire although it should, or the memory of a container grows by more
than 10 % in the second half.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.live import backends
from benchmarks.live.disturbances import LONG, Disturbed, disturb, disturbances, unexpected
from benchmarks.live.load import RATE, Load, Sent, steady_load
from benchmarks.live.memory import Growth, grown, growth, in_words, sampled
from benchmarks.live.ports import PORTS, published_at
from benchmarks.live.stack import Stack, eventually

WARM_UP_S: Final = 20.0
DRAINED_S: Final = 120.0
MUST_FIRE: Final = {
    "CollectorDown": "it is unreachable for longer than the alert waits",
    "PredictionErrorsBurnBudget": "scoring fails, and lookups while the database is unreachable",
    "PredictionLatencyBurnsBudget": "scoring is slow",
    "DriftVerdictActs": "half of the requests have drifted features, and labels are random",
}
MAY_FIRE: Final = {
    "ObjectiveBudgetSpent": "the errors spend the budget of a day whose traffic is that of a few minutes",
}


@dataclass
class Soaked:
    """What was seen."""

    disturbed: list[Disturbed]
    sent: int
    unexplained: list[Sent]
    answered: list[str]
    stored: Counter[str]
    fired: set[str]
    growth: Growth = field(default_factory=dict)
    """In the second half."""

    @property
    def lost(self) -> set[str]:
        """Predictions that were answered and are not in the database."""
        return set(self.answered) - self.stored.keys()

    @property
    def doubled(self) -> list[str]:
        """Predictions that are in the database more than once."""
        return [each for each, count in self.stored.items() if count > 1]

    def problems(self) -> list[str]:
        """The expectations that do not hold."""
        found = [f"lost: {len(self.lost)} predictions"] if self.lost else []
        found += [f"stored twice: {len(self.doubled)} predictions"] if self.doubled else []
        if self.unexplained:
            kinds = Counter((each.kind, each.status) for each in self.unexplained)
            found.append(f"failed without a reason: {dict(kinds)}")
        found += [f"did not fire: {each} ({MUST_FIRE[each]})" for each in sorted(MUST_FIRE.keys() - self.fired)]
        found += [f"fired: {each}" for each in sorted(self.fired - MUST_FIRE.keys() - MAY_FIRE.keys())]
        found += grown(self.growth)
        return found

    def __str__(self) -> str:
        kept = f"{len(self.answered):,} predictions answered, {len(self.lost)} lost, {len(self.doubled)} stored twice"
        return "\n".join(
            [
                *map(str, self.disturbed),
                f"sent: {self.sent:,} requests; {kept}",
                f"alerts that fired: {', '.join(sorted(self.fired)) or 'none'}",
                f"memory in the second half, MiB: {in_words(self.growth)}",
            ]
        )


def firing(since_s: float) -> set[str]:
    """The alerts that fired at any time in the last `since_s` seconds, by Prometheus."""
    expression = f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{int(since_s)}s]))'
    return {labels["alertname"] for labels, _ in backends.query(expression)}


def stored(stack: Stack, answered: Sequence[str], within_s: float = DRAINED_S) -> Counter[str]:
    """How often each prediction is in the database, once all answered ones are, or after `within_s`."""
    wanted, deadline_s = set(answered), time.monotonic() + within_s
    while True:
        found = Counter(stack.sql("SELECT prediction_id FROM predictions"))
        if wanted <= found.keys() or time.monotonic() > deadline_s:
            return found
        time.sleep(2)


def soak(stack: Stack, load: Load, minutes: float) -> Soaked:
    """Disturb the stack for half of the time, and watch it for the rest."""
    began_s = time.monotonic()
    half_s = began_s + minutes * 30
    eventually(lambda: time.monotonic() > began_s + WARM_UP_S, WARM_UP_S + 5)
    disturbed = []
    for each in disturbances(stack, LONG):
        disturbed.append(disturb(stack, load, each))
        print(disturbed[-1], flush=True)
    print(f"disturbed until {time.monotonic() - began_s:.0f} s", flush=True)
    time.sleep(max(0.0, half_s - time.monotonic()))
    with sampled(stack.memory_mib) as samples:
        time.sleep(max(0.0, began_s + minutes * 60 - time.monotonic()))
    until_s = time.monotonic() - 10
    fired = firing(time.monotonic() - began_s)
    answered = load.prediction_ids()
    unexplained = unexpected(load, disturbed, until_s)
    return Soaked(disturbed, len(load.sent), unexplained, answered, stored(stack, answered), fired, growth(samples))


def main() -> int:
    """Print what was seen; return 1 if an expectation does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--without", action="append", default=[], help="a service whose image is missing; repeatable")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        stack = Stack(
            "leeway-soak", frozenset(options.without), overrides=[published_at(PORTS, Path(folder) / "ports.yaml")]
        )
        stack.down()
        try:
            stack.up()
            with steady_load(options.rate) as load:
                soaked = soak(stack, load, options.minutes)
        finally:
            stack.down()
    print(soaked)
    problems = soaked.problems()
    print("\n".join(problems) or "all bounds hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
