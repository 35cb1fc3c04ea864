"""The last result as gauge values, until it is stale. Independent of OpenTelemetry: it yields values."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

from drift.result import RECOMMENDATIONS, RunResult
from leeway.model.card import Card
from leeway.telemetry import names
from leeway.telemetry.names import Metric

Reading: TypeAlias = tuple[float, Mapping[str, str]]
MOST_SEGMENTS = 20
"""So many segments have a gauge, the worst ones: each value is a series of its own."""
STALE_AFTER_INTERVALS = 3
_STATES = {"ok": 0, "watch": 1, "act": 2}


class DriftGauges:
    """Holds the last result. A reading that is unknown is absent, not zero.

    After three intervals without a success only the two timestamps are reported.
    """

    def __init__(
        self, threshold: float, card: Card | None, interval_s: float, now_s: Callable[[], float] = time.time
    ) -> None:
        self._threshold = threshold
        self._card = card
        self._interval_s = interval_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._result: RunResult | None = None
        self._success_s: float | None = None
        self._cycle_s: float | None = None
        self._unknown = False

    def show(self, result: RunResult, finished_s: float) -> None:
        """Report this result from now on; `finished_s` is Unix time."""
        with self._lock:
            self._result, self._success_s, self._unknown = result, finished_s, False
            self._cycle_s = max(finished_s, self._cycle_s or 0.0)

    def unknown(self) -> None:
        """The newest run could not compare its window."""
        with self._lock:
            self._unknown = True

    def cycle_finished(self, finished_s: float) -> None:
        """A cycle ended, with or without a comparison."""
        with self._lock:
            self._cycle_s = finished_s

    def use_card(self, card: Card) -> None:
        """The active bundle has this card."""
        with self._lock:
            self._card = card

    def readings(self) -> dict[Metric, Callable[[], Iterable[Reading]]]:
        """A function for each gauge that returns its current readings."""
        return {
            names.DRIFT_SHARE: self._of_result(_share),
            names.DRIFT_THRESHOLD: lambda: [(self._threshold, {})],
            names.DRIFT_FEATURE_SCORE: self._of_result(_scores),
            names.DRIFT_FEATURE_THRESHOLD: self._of_result(_thresholds),
            names.DRIFT_FEATURE_DETECTED: self._of_result(_detected),
            names.DRIFT_SEGMENT_SHARE: self._of_result(_segments),
            names.DRIFT_VERDICT: self._of_result(_verdicts),
            names.DRIFT_PREDICTION_SCORE: self._of_result(_prediction),
            names.DRIFT_TARGET_DIFFERENCE: self._of_result(lambda result: _value(result.target.difference, {})),
            names.DRIFT_WINDOW_ROWS: self._of_result(lambda result: _sizes(result, "rows")),
            names.DRIFT_WINDOW_SUBJECTS: self._of_result(lambda result: _sizes(result, "subjects")),
            names.DRIFT_INTERVAL: lambda: [(self._interval_s, {})],
            names.DRIFT_LAST_SUCCESS: lambda: _value(self._success_s, {}),
            names.DRIFT_LAST_CYCLE: lambda: _value(self._cycle_s, {}),
            names.DRIFT_RECOMMENDATION_ACTIVE: self._recommendations,
            names.MODEL_PERFORMANCE: self._performance,
            names.MODEL_LABELS: self._labels,
        }

    def _current(self) -> RunResult | None:
        with self._lock:
            if self._result is None or self._success_s is None:
                return None
            age_s = abs(self._now_s() - self._success_s)  # after the clock was set back, a result is stale too
            return self._result if age_s <= STALE_AFTER_INTERVALS * self._interval_s else None

    def _of_result(self, read: Callable[[RunResult], Iterable[Reading]]) -> Callable[[], Iterable[Reading]]:
        def reading() -> Iterable[Reading]:
            result = self._current()
            return [] if result is None else read(result)

        return reading

    def _recommendations(self) -> Iterable[Reading]:
        result = self._current()
        with self._lock:
            unknown = self._unknown
        active = "UNKNOWN" if result is None or unknown else result.recommendation
        if self._cycle_s is None:
            return []
        return [(float(each == active), {names.DRIFT_RECOMMENDATION: each}) for each in RECOMMENDATIONS]

    def _performance(self) -> Iterable[Reading]:
        for figure, estimate in (self._card.figures if self._card else {}).items():
            yield estimate.value, {names.PERFORMANCE_FIGURE: figure, names.MODEL_BASIS: "card"}
        if result := self._current():
            for figure, measure in result.performance.figures.items():
                yield from _value(measure.current, {names.PERFORMANCE_FIGURE: figure, names.MODEL_BASIS: "live"})

    def _labels(self) -> Iterable[Reading]:
        if self._card is not None and self._card.held_out.has_labels:
            yield self._card.held_out.rows, {names.MODEL_BASIS: "card"}
        if result := self._current():
            yield from _value(result.performance.labels, {names.MODEL_BASIS: "live"})


def _value(value: float | None, attributes: Mapping[str, str]) -> list[Reading]:
    return [] if value is None else [(float(value), attributes)]


def _share(result: RunResult) -> Iterable[Reading]:
    return _value(result.share, {names.MODEL_VERSION: result.model.version or ""})


def _scores(result: RunResult) -> Iterable[Reading]:
    for each in result.features:
        yield from _value(each.score, {names.FEATURE_NAME: each.feature, names.DRIFT_METHOD: each.method})


def _thresholds(result: RunResult) -> Iterable[Reading]:
    for each in result.features:
        yield each.threshold, {names.FEATURE_NAME: each.feature, names.DRIFT_METHOD: each.method}


def _detected(result: RunResult) -> Iterable[Reading]:
    for each in result.features:
        yield float(each.detected), {names.FEATURE_NAME: each.feature}


def _segments(result: RunResult) -> Iterable[Reading]:
    for each in result.segments.segments[:MOST_SEGMENTS] if result.segments else ():
        yield from _value(each.share, {names.DRIFT_SEGMENT: each.value})


def _verdicts(result: RunResult) -> Iterable[Reading]:
    for question, verdict in result.verdicts.items():
        yield from _value(_STATES.get(verdict.state), {names.DRIFT_QUESTION: question})


def _prediction(result: RunResult) -> Iterable[Reading]:
    return _value(result.prediction.score, {names.DRIFT_METHOD: str(result.prediction.method)})


def _sizes(result: RunResult, unit: Literal["rows", "subjects"]) -> Iterable[Reading]:
    for role, window in (("reference", result.reference), ("current", result.current)):
        yield from _value(getattr(window, unit), {names.DRIFT_WINDOW_ROLE: role})
