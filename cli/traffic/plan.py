"""What is sent, and when: decided by seed alone, before anything is known of the answers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import orjson

from cli.traffic.bad_input import bad_body
from cli.traffic.rows import Rows
from leeway.schema import FeatureSchema

Kind: TypeAlias = Literal["customer", "features", "batch", "bad"]
KINDS: Final[tuple[Kind, ...]] = ("customer", "features", "batch", "bad")
MAX_BATCH: Final = 20
STEPS: Final = 10
"""A ramp rises in this many steps."""


@dataclass(frozen=True)
class Profile:
    """When drift begins, how it rises and when it ends; all in seconds from the start.

    `ramp_s` is how long it takes to full strength, 0 for a step; `lasts_s` is None where it stays.
    """

    after_s: float = 0.0
    ramp_s: float = 0.0
    lasts_s: float | None = None

    def step(self, at_s: float) -> int:
        """How far it is, from 0 (none) to `STEPS` (full)."""
        since_s = at_s - self.after_s
        if since_s < 0 or (self.lasts_s is not None and since_s >= self.lasts_s):
            return 0
        if since_s >= self.ramp_s:
            return STEPS
        return 1 + math.floor((STEPS - 1) * since_s / self.ramp_s)

    def strengths(self, full: float) -> list[float]:
        """Every strength on the way to `full`."""
        return [strength_at(full, step) for step in (range(STEPS + 1) if self.ramp_s else (0, STEPS))]


def strength_at(full: float, step: int) -> float:
    """The strength of a drift that is at `full` in the end."""
    return round(full * step / STEPS, 4)


@dataclass(frozen=True)
class Planned:
    """One request: when it is due, in seconds from the start, and what it asks.

    `drift` and `turned` are the strengths of covariate and concept drift, 0…1, at that time.
    """

    due_s: float
    kind: Kind
    body: bytes
    drift: float = 0.0
    turned: float = 0.0

    @property
    def path(self) -> str:
        """The route it goes to."""
        return "/predict/batch" if self.kind == "batch" else "/predict"


@dataclass(frozen=True)
class Plan:
    """Requests at random moments, `rate` a second on average (Poisson), for `duration_s` seconds; None: without end.

    `mix` are the weights of requests by customer, by features, and of batches. Where there are no `user_ids`, features
    go in their place. While features drift all requests go by features: the snapshots of customers do not drift.
    """

    rate: float
    duration_s: float | None
    rows: Rows
    schema: FeatureSchema
    user_ids: Sequence[str] = ()
    mix: tuple[float, float, float] = (60, 30, 10)
    bad_share: float = 0.0
    drift: float = 0.0
    concept_drift: float = 0.0
    profile: Profile = field(default_factory=Profile)
    seed: int = 7

    def requests(self) -> Iterator[Planned]:
        """The requests in the order in which they are due; the same ones each time."""
        # Two streams: another rate asks the same things.
        clock, rng = random.Random(f"{self.seed} when"), random.Random(f"{self.seed} what")  # noqa: S311 (no secret)
        due_s = clock.expovariate(self.rate)
        while self.duration_s is None or due_s < self.duration_s:
            yield self._request(due_s, rng)
            due_s += clock.expovariate(self.rate)

    def _request(self, due_s: float, rng: random.Random) -> Planned:
        step = self.profile.step(due_s)
        drift, turned = strength_at(self.drift, step), strength_at(self.concept_drift, step)
        kind: Kind = rng.choices(KINDS[:3], self.mix)[0]
        if rng.random() < self.bad_share:
            return Planned(due_s, "bad", bad_body(self.schema, self.rows.row(rng, drift), rng), drift, turned)
        if kind == "batch":
            by_id = self.mix[0] / ((self.mix[0] + self.mix[1]) or 1)
            items = [self._item(rng.random() < by_id, rng, drift) for _ in range(rng.randint(2, MAX_BATCH))]
            return Planned(due_s, kind, orjson.dumps({"items": items}), drift, turned)
        item = self._item(kind == "customer", rng, drift)
        return Planned(due_s, "customer" if "user_id" in item else "features", orjson.dumps(item), drift, turned)

    def _item(self, by_id: bool, rng: random.Random, drift: float) -> dict[str, object]:
        if by_id and self.user_ids and not drift:
            return {"user_id": rng.choice(self.user_ids)}
        return {"features": dict(self.rows.row(rng, drift))}
