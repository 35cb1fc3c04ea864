"""Requests at a constant rate through the published port; a slow response does not delay the next request."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import httpx2

from benchmarks.live.stack import SERVICE
from leeway.data.population import population

RATE: Final = 100.0
"""Requests per second."""
SENDERS: Final = 64
TIMEOUT_S: Final = 10.0
DRIFTED_SHARE: Final = 0.5
STRANGE_SHARE: Final = 0.02
STRANGE: Final = {"rebuffer_events_7d": 90, "skips_7d": 400, "support_tickets_90d": 40}

Kind: TypeAlias = Literal["features", "customer", "batch", "rejected", "stranger", "label"]
EXPECTED: Final[dict[Kind, int]] = {
    "features": 200, "customer": 200, "batch": 200, "rejected": 422, "stranger": 404, "label": 202,
}  # fmt: skip
MIX: Final[dict[Kind, float]] = {
    "features": 0.5, "customer": 0.37, "batch": 0.03, "rejected": 0.03, "stranger": 0.02, "label": 0.05,
}  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A request due at `due_s` (monotonic) and answered `latency_s` later; status 0 without a response."""

    kind: Kind
    due_s: float
    latency_s: float
    status: int
    prediction_ids: tuple[str, ...] = ()
    trace_id: str | None = None

    @property
    def failed(self) -> bool:
        """Whether its status is not the expected one."""
        return self.status != EXPECTED[self.kind]


@dataclass
class Load:
    """The requests sent so far."""

    sent: list[Sent] = field(default_factory=list)
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    """The ids of the last answered predictions, for labels."""

    def add(self, sent: Sent) -> None:
        """Add an answered request."""
        self.sent.append(sent)
        self.newest.extend(sent.prediction_ids)

    def between(self, start_s: float, end_s: float, *kinds: Kind) -> list[Sent]:
        """The requests due in this time (monotonic seconds), of these kinds or all."""
        return [each for each in list(self.sent) if start_s <= each.due_s < end_s and each.kind in (kinds or EXPECTED)]

    def prediction_ids(self) -> list[str]:
        """The ids of all answered predictions."""
        return [each for sent in list(self.sent) for each in sent.prediction_ids]


@contextmanager
def steady_load(rate: float = RATE) -> Iterator[Load]:
    """Send each request at its due time from a pool of threads, until the block ends."""
    load, over = Load(), threading.Event()
    bodies = _bodies(load)
    slots, begin_s, lock = itertools.count(), time.monotonic(), threading.Lock()

    def send_in_turn() -> None:
        with httpx2.Client(base_url=SERVICE, timeout=TIMEOUT_S, trust_env=False) as client:
            while not over.is_set():
                with lock:
                    due_s = begin_s + next(slots) / rate
                    kind, path, body = next(bodies)
                if over.wait(max(0.0, due_s - time.monotonic())):
                    return
                load.add(_send(client, kind, path, body, due_s))

    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(send_in_turn) for _ in range(SENDERS)]
        try:
            yield load
        finally:
            over.set()
    for sender in senders:
        sender.result()


def p95_s(requests: list[Sent]) -> float:
    """The p95 latency of these requests."""
    latencies = sorted(each.latency_s for each in requests)
    return latencies[int(0.95 * len(latencies))] if latencies else float("nan")


def _send(client: httpx2.Client, kind: Kind, path: str, body: dict[str, Any], due_s: float) -> Sent:
    try:
        answer = client.post(path, json=body)
    except httpx2.HTTPError:
        return Sent(kind, due_s, time.monotonic() - due_s, 0)
    latency_s = time.monotonic() - due_s
    document = answer.json()
    results = document.get("results", [document]) if answer.is_success else []
    ids = tuple(each["prediction_id"] for each in results if "prediction_id" in each)
    return Sent(kind, due_s, latency_s, answer.status_code, ids, results[0].get("trace_id") if results else None)


def _bodies(load: Load) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
    """Endless requests in the proportions of `MIX`, the same in each run except for the labels."""
    calm, drifted = population(), population(month=1, covariate_drift=1.0)
    rng = random.Random(7)  # noqa: S311 (not used for secrets)
    kinds, weights = list(MIX), list(MIX.values())
    for place in itertools.cycle(range(len(calm))):
        (kind,) = rng.choices(kinds, weights)
        row = (drifted if rng.random() < DRIFTED_SHARE else calm).row(place)
        row |= STRANGE if rng.random() < STRANGE_SHARE else {}
        if kind == "features":
            yield kind, "/predict", {"features": row}
        elif kind == "customer":
            yield kind, "/predict", {"user_id": calm.user_ids[place]}
        elif kind == "batch":
            yield kind, "/predict/batch", {"items": [{"features": calm.row(each)} for each in range(place % 50, 60)]}
        elif kind == "rejected":
            yield kind, "/predict", {"features": row | {"monthly_fee": -1}}
        elif kind == "stranger":
            yield kind, "/predict", {"user_id": "0000-NOONE"}
        elif load.newest:
            label = {"prediction_id": rng.choice(list(load.newest)), "label": rng.randrange(2)}
            yield kind, "/feedback", {"items": [label]}
