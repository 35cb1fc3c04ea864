"""Samples of `/metrics`, and rates and quantiles between two of them, as Prometheus computes them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from leeway.telemetry import names

Buckets: TypeAlias = Mapping[float, float]
"""Cumulative counts by upper bound in seconds."""

USUAL, NOT_USUAL = "usual", "unusual or strange"
INPUT_KINDS: Final = {"usual": USUAL, "unusual": NOT_USUAL, "strange": NOT_USUAL}
"""The service's three typicalities as two: without unusual features, and with one or more."""
SINGLE: Final = "/predict"
ROUTES: Final = {SINGLE, "/predict/batch"}
OVER_S: Final = 3.0
_WANTED = (names.HTTP_REQUEST_DURATION, names.PREDICTION_DURATION)
_SERVER_ERRORS = "5"
_ROUTE, _STATUS = names.prometheus_label(names.HTTP_ROUTE), names.prometheus_label(names.HTTP_STATUS)
_KIND = names.prometheus_label(names.TYPICALITY)


@dataclass(frozen=True)
class Sample:
    """The service's counts at one time: latency of single predictions, in total and by typicality of their input.

    `answered` counts prediction requests including batches, `failed` those answered with 500 or above.
    """

    at: datetime
    single: Buckets = field(default_factory=dict)
    by_kind: Mapping[str, Buckets] = field(default_factory=dict)
    answered: float = 0.0
    failed: float = 0.0


@dataclass(frozen=True)
class Quantiles:
    """Latencies in milliseconds; None without answers. `count` is the number of answers."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    count: int = 0


@dataclass(frozen=True)
class Figures:
    """An interval that ends at `at`: requests a second, failures, latency, and latency by kind of input."""

    at: datetime
    rate: float
    failed: int
    latency: Quantiles
    by_kind: Mapping[str, Quantiles]


def read_sample(text: str, at: datetime) -> Sample:
    """Read Prometheus text; only the needed lines are parsed."""
    wanted = tuple(f"{metric.prometheus_name}_" for metric in _WANTED)
    lines = (line for line in text.splitlines() if line.startswith(wanted))
    single: dict[float, float] = defaultdict(float)
    by_kind: dict[str, dict[float, float]] = {kind: defaultdict(float) for kind in INPUT_KINDS.values()}
    answered = failed = 0.0
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for each in family.samples:
            name, labels, value = each.name, each.labels, each.value
            if name == f"{names.PREDICTION_DURATION.prometheus_name}_bucket" and labels.get(_KIND) in INPUT_KINDS:
                by_kind[INPUT_KINDS[labels[_KIND]]][float(labels["le"])] += value
            elif name == f"{names.HTTP_REQUEST_DURATION.prometheus_name}_bucket" and labels.get(_ROUTE) == SINGLE:
                single[float(labels["le"])] += value
            elif name == f"{names.HTTP_REQUEST_DURATION.prometheus_name}_count" and labels.get(_ROUTE) in ROUTES:
                answered += value
                failed += value if labels.get(_STATUS, "").startswith(_SERVER_ERRORS) else 0.0
    return Sample(at, single, by_kind, answered, failed)


def between(before: Sample, after: Sample) -> Figures:
    """The figures of the time between two samples."""
    span_s = max((after.at - before.at).total_seconds(), 0.001)
    return Figures(
        after.at,
        (after.answered - before.answered) / span_s,
        round(after.failed - before.failed),
        _quantiles(before.single, after.single),
        {kind: _quantiles(before.by_kind.get(kind, {}), after.by_kind.get(kind, {})) for kind in (USUAL, NOT_USUAL)},
    )


class Samples:
    """All samples, oldest first, and for each but the first the figures of the time before it."""

    def __init__(self) -> None:
        self._taken: list[Sample] = []
        self.over_time: list[Figures] = []
        """Figures of the `OVER_S` seconds that end at each sample."""

    def add(self, sample: Sample) -> None:
        """Add a sample, later than all before."""
        if self._taken:
            since = next(
                (each for each in self._taken if (sample.at - each.at).total_seconds() <= OVER_S), self._taken[-1]
            )
            self.over_time.append(between(since, sample))
        self._taken.append(sample)

    @property
    def now(self) -> Figures | None:
        """The figures of the last `OVER_S` seconds; None with fewer than two samples."""
        return self.over_time[-1] if self.over_time else None

    def within(self, start: datetime, end: datetime) -> Figures | None:
        """The figures of an interval, from its first and last samples; None with fewer than two."""
        inside = [each for each in self._taken if start <= each.at <= end]
        return between(inside[0], inside[-1]) if len(inside) > 1 else None


def _quantiles(before: Buckets, after: Buckets) -> Quantiles:
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    p50, p95, p99 = (_milliseconds(quantile(counts, share)) for share in (0.5, 0.95, 0.99))
    return Quantiles(p50, p95, p99, round(max(counts.values(), default=0.0)))


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value that this share of all did not exceed, linear within its bucket like Prometheus' histogram_quantile.

    `buckets` are in the order of their bounds; None if they are empty.
    """
    rank, lower, below = share * max(buckets.values(), default=0.0), 0.0, 0.0
    if not rank:
        return None
    for bound, cumulative in buckets.items():
        if cumulative >= rank:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (cumulative - below)
        lower, below = bound, cumulative
    return None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1_000 * seconds, 2)
