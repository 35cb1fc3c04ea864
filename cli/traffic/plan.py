"""Which requests are sent and when, decided by the seed alone and never by the answers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from cli.traffic.rows import Row, Rows
from leeway.schema import FeatureSchema

RequestKind: TypeAlias = Literal["customer", "features", "batch", "bad"]
REQUEST_KINDS: Final[tuple[RequestKind, ...]] = get_args(RequestKind)
MAX_BATCH: Final = 20
STEPS: Final = 10
"""A ramp rises in this many steps."""
REJECTED: Final = frozenset({400, 404, 422})
"""How a service answers bad input."""
UNKNOWN_CUSTOMER: Final = "0000-NOONE"


@dataclass(frozen=True)
class Profile:
    """When drift begins, how it rises and when it ends; all in seconds from the start.

    `ramp_s` is the time to full strength, 0 for a step; `lasts_s` is None if the drift stays.
    """

    after_s: float = 0.0
    ramp_s: float = 0.0
    lasts_s: float | None = None

    def step(self, at_s: float) -> int:
        """The step at a time, from 0 (no drift) to `STEPS` (full strength)."""
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
    """The strength at a step of a drift that rises to `full`."""
    return round(full * step / STEPS, 4)


@dataclass(frozen=True)
class PlannedRequest:
    """One request: when it is due, in seconds from the start, and what it asks.

    `drift` and `concept_drift` are the strengths of covariate and concept drift, 0…1, at that time.
    """

    due_s: float
    kind: RequestKind
    body: bytes
    drift: float = 0.0
    concept_drift: float = 0.0

    @property
    def path(self) -> str:
        """The route it goes to."""
        return "/predict/batch" if self.kind == "batch" else "/predict"


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests at random times, `rate` a second on average (Poisson), for `duration_s` seconds; None: without end.

    `mix` holds the weights of requests by customer, requests by features, and batches. Shares and strengths are 0…1.
    """

    rate: float
    duration_s: float | None
    mix: tuple[float, float, float] = (60, 30, 10)
    bad_share: float = 0.0
    drift: float = 0.0
    concept_drift: float = 0.0
    profile: Profile = field(default_factory=Profile)
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class Plan(Load):
    """A load and what its requests contain.

    Without `user_ids`, features take the place of customers. While features drift, all requests go by features:
    snapshots do not drift.
    """

    rows: Rows
    schema: FeatureSchema
    user_ids: Sequence[str] = ()

    def requests(self) -> Iterator[PlannedRequest]:
        """The requests in the order in which they are due; the same ones each time."""
        # Two generators: another rate sends the same requests at other times.
        clock, rng = random.Random(f"{self.seed} when"), random.Random(f"{self.seed} what")  # noqa: S311 (no secret)
        due_s = clock.expovariate(self.rate)
        while self.duration_s is None or due_s < self.duration_s:
            step = self.profile.step(due_s)
            drift = strength_at(self.drift, step)
            kind, body = self._request(rng, drift)
            yield PlannedRequest(due_s, kind, body, drift, strength_at(self.concept_drift, step))
            due_s += clock.expovariate(self.rate)

    def _request(self, rng: random.Random, drift: float) -> tuple[RequestKind, bytes]:
        kind: RequestKind = rng.choices(REQUEST_KINDS[:3], self.mix)[0]
        if rng.random() < self.bad_share:
            return "bad", bad_body(rng.choice(MISTAKES), self.schema, self.rows.row(rng, drift), rng)
        if kind == "batch":
            by_id = self.mix[0] / ((self.mix[0] + self.mix[1]) or 1)
            items = [self._item(rng.random() < by_id, rng, drift) for _ in range(rng.randint(2, MAX_BATCH))]
            return kind, msgspec.json.encode({"items": items})
        item = self._item(kind == "customer", rng, drift)
        return "customer" if "user_id" in item else "features", msgspec.json.encode(item)

    def _item(self, by_id: bool, rng: random.Random, drift: float) -> dict[str, object]:
        if by_id and self.user_ids and not drift:
            return {"user_id": rng.choice(self.user_ids)}
        return {"features": dict(self.rows.row(rng, drift))}


# --- bad input: the mistakes that clients make --------------------------------------------------------------------

Mistake: TypeAlias = Literal[
    "missing", "misspelt", "wrong type", "beyond limits", "both", "cut short", "unknown customer"
]
MISTAKES: Final[tuple[Mistake, ...]] = get_args(Mistake)


def bad_body(mistake: Mistake, schema: FeatureSchema, row: Row, rng: random.Random) -> bytes:
    """A body with one mistake in it, from a valid row.

    A mistake that the schema does not allow (nothing is required, nothing has a minimum) is replaced by another.
    """
    features: dict[str, object] = dict(row)
    match mistake:
        case "unknown customer":
            return msgspec.json.encode({"user_id": UNKNOWN_CUSTOMER})
        case "both":
            return msgspec.json.encode({"user_id": UNKNOWN_CUSTOMER, "features": features})
        case "cut short":
            return msgspec.json.encode({"features": features})[:-10]
        case "missing":
            if required := [each.name for each in schema if not each.nullable]:
                del features[rng.choice(required)]
            else:
                features["no_such_feature"] = 1
        case "misspelt":
            name = rng.choice(schema.names)
            features = {f"{each}_x" if each == name else each: value for each, value in row.items()}
        case "beyond limits" if limited := [
            each for each in schema if each.minimum is not None and each.kind in {"number", "integer"}
        ]:
            feature = rng.choice(limited)
            below = (feature.minimum or 0.0) - 999
            features[feature.name] = int(below) if feature.kind == "integer" else below
        case _:
            features[rng.choice(schema.names)] = ["many"]
    return msgspec.json.encode({"features": features})
