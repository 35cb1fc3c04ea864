"""The last result as gauges, until it is too old to be true. Knows no OpenTelemetry: it yields values."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from leeway.model.card import Card
from leeway.model.performance import Estimate
from leeway.telemetry import names
from leeway.telemetry.names import Metric

Reading: TypeAlias = tuple[float, Mapping[str, str]]
STALE_AFTER_INTERVALS = 3
_STATES = {"ok": 0, "watch": 1, "act": 2}
_RECOMMENDATIONS = ("NO_ACTION", "INVESTIGATE", "RETRAIN", "UNKNOWN")


class DriftGauges:
    """Holds the last result; each reading is absent, not zero, where it is unknown.

    After three intervals without a success the result stops being reported; only the two timestamps go on.
    """

    def __init__(
        self, threshold: float, card: Card | None, interval_s: float, now_s: Callable[[], float] = time.time
    ) -> None:
        self._threshold = threshold
        self._card = card
        self._interval_s = interval_s
        self._stale_after_s = STALE_AFTER_INTERVALS * interval_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._result: Mapping[str, Any] | None = None
        self._success_s: float | None = None
        self._cycle_s: float | None = None
        self._blind = False

    def show(self, result: Mapping[str, Any], finished_s: float) -> None:
        """Report this result from now on; `finished_s` is Unix time."""
        with self._lock:
            self._result, self._success_s, self._blind = result, finished_s, False
            self._cycle_s = max(finished_s, self._cycle_s or 0.0)

    def unknown(self) -> None:
        """The newest run could not see."""
        with self._lock:
            self._blind = True

    def cycle_finished(self, finished_s: float) -> None:
        """A cycle ended, whatever it saw."""
        with self._lock:
            self._cycle_s = finished_s

    def use_card(self, card: Card) -> None:
        """Another bundle is in force."""
        with self._lock:
            self._card = card

    def readings(self) -> dict[Metric, Callable[[], Iterable[Reading]]]:
        """Each gauge with what reads it now."""
        return {
            names.DRIFT_SHARE: self._of_result(_share),
            names.DRIFT_THRESHOLD: lambda: [(self._threshold, {})],
            names.DRIFT_FEATURE_SCORE: self._of_result(lambda result: _features(result, "score")),
            names.DRIFT_FEATURE_THRESHOLD: self._of_result(lambda result: _features(result, "threshold")),
            names.DRIFT_FEATURE_DETECTED: self._of_result(_detected),
            names.DRIFT_VERDICT: self._of_result(_verdicts),
            names.DRIFT_PREDICTION_SCORE: self._of_result(_prediction),
            names.DRIFT_TARGET_DIFFERENCE: self._of_result(lambda result: _value(result["target"]["difference"], {})),
            names.DRIFT_WINDOW_ROWS: self._of_result(lambda result: _sizes(result, "rows")),
            names.DRIFT_WINDOW_SUBJECTS: self._of_result(lambda result: _sizes(result, "subjects")),
            names.DRIFT_INTERVAL: lambda: [(self._interval_s, {})],
            names.DRIFT_LAST_SUCCESS: lambda: _value(self._success_s, {}),
            names.DRIFT_LAST_CYCLE: lambda: _value(self._cycle_s, {}),
            names.DRIFT_RECOMMENDATION_ACTIVE: self._recommendations,
            names.MODEL_ROC_AUC: lambda: self._performance("roc_auc"),
            names.MODEL_BRIER: lambda: self._performance("brier"),
            names.MODEL_LABELS: self._labels,
        }

    def _current(self) -> Mapping[str, Any] | None:
        with self._lock:
            if self._result is None or self._success_s is None:
                return None
            age_s = abs(self._now_s() - self._success_s)  # a clock that was set back makes a result old as well
            return self._result if age_s <= self._stale_after_s else None

    def _of_result(self, read: Callable[[Mapping[str, Any]], Iterable[Reading]]) -> Callable[[], Iterable[Reading]]:
        def reading() -> Iterable[Reading]:
            result = self._current()
            return [] if result is None else read(result)

        return reading

    def _recommendations(self) -> Iterable[Reading]:
        result = self._current()
        with self._lock:
            blind = self._blind
        active = "UNKNOWN" if result is None or blind else result["recommendation"]
        if self._cycle_s is None:
            return []
        return [(float(each == active), {names.DRIFT_RECOMMENDATION: each}) for each in _RECOMMENDATIONS]

    def _performance(self, figure: str) -> Iterable[Reading]:
        card: Estimate | None = getattr(self._card, figure, None)
        yield from _value(None if card is None else card.value, {names.MODEL_BASIS: "card"})
        result = self._current()
        live = (result or {}).get("performance") or {}
        yield from _value((live.get(figure) or {}).get("current"), {names.MODEL_BASIS: "live"})

    def _labels(self) -> Iterable[Reading]:
        if self._card is not None and self._card.held_out.positive_share is not None:
            yield self._card.held_out.rows, {names.MODEL_BASIS: "card"}
        result = self._current()
        live = (result or {}).get("performance") or {}
        yield from _value(live.get("labels"), {names.MODEL_BASIS: "live"})


def _value(value: float | None, attributes: Mapping[str, str]) -> list[Reading]:
    return [] if value is None else [(float(value), attributes)]


def _share(result: Mapping[str, Any]) -> Iterable[Reading]:
    return _value(result["share"], {names.MODEL_VERSION: str(result["model"]["version"])})


def _features(result: Mapping[str, Any], member: str) -> Iterable[Reading]:
    for each in result["features"]:
        yield from _value(each[member], {names.FEATURE_NAME: each["feature"], names.DRIFT_METHOD: each["method"]})


def _detected(result: Mapping[str, Any]) -> Iterable[Reading]:
    for each in result["features"]:
        yield float(each["detected"]), {names.FEATURE_NAME: each["feature"]}


def _verdicts(result: Mapping[str, Any]) -> Iterable[Reading]:
    for question, verdict in result["verdicts"].items():
        yield from _value(_STATES.get(verdict["state"]), {names.DRIFT_QUESTION: question})


def _prediction(result: Mapping[str, Any]) -> Iterable[Reading]:
    prediction = result["prediction"] or {}
    yield from _value(prediction.get("score"), {names.DRIFT_METHOD: str(prediction.get("method"))})


def _sizes(result: Mapping[str, Any], member: str) -> Iterable[Reading]:
    for role in ("reference", "current"):
        yield from _value(result[role][member], {names.DRIFT_WINDOW_ROLE: role})
