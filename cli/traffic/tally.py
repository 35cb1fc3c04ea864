"""Results of the requests: counts, errors by kind, and latencies, in bounded memory however long the run."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Final

from cli.traffic.plan import REQUEST_KINDS, RequestKind

NOT_SENT: Final = "not sent: too many in flight"
RECENT_S: Final = 5.0
_MAX_RECENT = 5_000
_SMALLEST_S, _STEP, _BUCKETS = 1e-5, 1.02, 900


class Latencies:
    """Durations in seconds, from 10 µs to 9 minutes; quantiles are accurate to 1 %."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS

    def add(self, seconds: float) -> None:
        """Count one."""
        place = int(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S) / math.log(_STEP))
        self._counts[min(place, _BUCKETS - 1)] += 1

    def __len__(self) -> int:
        return sum(self._counts)

    def quantile_ms(self, share: float) -> float | None:
        """The milliseconds that this share of all did not exceed; None if there are none."""
        left = share * len(self)
        for place, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return float(1_000 * _SMALLEST_S * _STEP ** (place + 0.5))
        return None


class Tally:
    """Counts what happens, for `cli.traffic.view` to show."""

    def __init__(self) -> None:
        self.planned: Counter[RequestKind] = Counter()
        self.answered: Counter[RequestKind] = Counter()
        self.errors: Counter[str] = Counter()
        self.latencies: dict[RequestKind, Latencies] = {kind: Latencies() for kind in REQUEST_KINDS}
        self.good_latencies = Latencies()
        """The latencies of all but bad input."""
        self.lateness = Latencies()
        self.unfinished = 0
        self.labels = 0
        self.label_errors: Counter[str] = Counter()
        self.drifted = 0
        self.drift = 0.0
        self.concept_drift = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_MAX_RECENT)

    def due(self, kind: RequestKind, drift: float, concept_drift: float) -> None:
        """A request is due, with these strengths of covariate and concept drift, 0…1."""
        self.planned[kind] += 1
        self.drifted += drift > 0
        self.drift, self.concept_drift = drift, concept_drift

    def took(self, kind: RequestKind, latency_s: float, ended_s: float) -> None:
        """A request was answered, or timed out, `ended_s` seconds from the start."""
        self.latencies[kind].add(latency_s)
        if kind != "bad":
            self.good_latencies.add(latency_s)
            self._recent.append((ended_s, latency_s))

    @property
    def failed(self) -> int:
        """Requests that did not end as they should, including those not sent."""
        return self.errors.total()

    def recent(self, now_s: float) -> tuple[float, list[float | None]]:
        """Answers a second, and p50, p95 and p99 in milliseconds, over the last `RECENT_S`, without bad input."""
        since_s = max(now_s - RECENT_S, 0.0)
        while self._recent and self._recent[0][0] < since_s:
            self._recent.popleft()
        ended = sorted(1_000 * latency_s for _, latency_s in self._recent)
        # If answers come faster than they are kept, the rate is that of those kept.
        span_s = now_s - (self._recent[0][0] if len(self._recent) == _MAX_RECENT else since_s)
        return len(ended) / max(span_s, 0.001), [_quantile(ended, share) for share in (0.5, 0.95, 0.99)]


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def counted(errors: Counter[str]) -> str:
    """Errors with their counts, the most frequent first."""
    return ", ".join(f"{count:,} × {reason}" for reason, count in errors.most_common())
