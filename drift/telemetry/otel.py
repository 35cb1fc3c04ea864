"""Reports drift runs to OpenTelemetry: one trace a run, gauges of the last result, counters and a duration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import trace
from opentelemetry.metrics import Counter, Meter
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, TraceFlags, Tracer

from drift.result import RECOMMENDATIONS, RunResult
from drift.telemetry.gauges import DriftGauges
from drift.telemetry.probe import DriftProbe, PredictionTrace, RunProbe, Stage
from leeway.model.card import Card
from leeway.telemetry import names
from leeway.telemetry.instruments import counter, histogram

UNKNOWN_KINDS = ("too_few_rows", "database", "bundle", "source", "reports", "other")


class OTelDriftProbe(DriftProbe):
    """Reports all runs. `gauges` reports the last result at every collection until it is stale.

    `report_url` returns the address of a run's report; `now_s` is Unix time.
    """

    def __init__(
        self,
        tracer: Tracer,
        meter: Meter,
        gauges: DriftGauges,
        report_url: Callable[[str], str],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._tracer = tracer
        self._gauges = gauges
        self._report_url = report_url
        self._now_s = now_s
        self._runs = counter(meter, names.DRIFT_RUNS)
        self._duration = histogram(meter, names.DRIFT_RUN_DURATION)
        for recommendation in RECOMMENDATIONS[:-1]:
            self._runs.add(0, {names.DRIFT_RECOMMENDATION: recommendation})
        for kind in UNKNOWN_KINDS:
            self._runs.add(0, {names.DRIFT_RECOMMENDATION: "UNKNOWN", names.ERROR_TYPE: kind})

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[OTelRunProbe]:
        """See `DriftProbe`."""
        attributes = {
            names.DRIFT_RUN_ID: run_id,
            names.DRIFT_WINDOW_START: start.isoformat(),
            names.DRIFT_WINDOW_END: end.isoformat(),
        }
        began_s = time.perf_counter()
        with self._tracer.start_as_current_span(names.SPAN_DRIFT_RUN, attributes=attributes) as span:
            try:
                yield OTelRunProbe(self._tracer, span, self._runs, self._gauges, self._report_url(run_id), self._now_s)
            finally:
                self._duration.record(time.perf_counter() - began_s)  # inside the span: its trace is the exemplar
                self._gauges.cycle_finished(self._now_s())

    def active_bundle(self, card: Card) -> None:
        """See `DriftProbe`."""
        self._gauges.use_card(card)

    def restored(self, result: RunResult, finished_at: datetime) -> None:
        """See `DriftProbe`."""
        self._gauges.show(result, finished_at.timestamp())


@dataclass(frozen=True)
class OTelRunProbe(RunProbe):
    """Reports one run as a span with links and stages."""

    tracer: Tracer
    span: Span
    runs: Counter
    gauges: DriftGauges
    report_url: str
    now_s: Callable[[], float]

    @property
    def trace_id(self) -> str | None:
        """See `RunProbe`."""
        context = self.span.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """See `RunProbe`."""
        with self.tracer.start_as_current_span(name):
            yield

    def links_to(self, predictions: Sequence[PredictionTrace]) -> None:
        """See `RunProbe`."""
        for each in predictions:
            self.span.add_link(
                SpanContext(
                    int(each.trace_id, 16),
                    int(each.span_id, 16),
                    is_remote=True,
                    trace_flags=TraceFlags(TraceFlags.SAMPLED),
                ),
                {names.PREDICTION_ID: each.prediction_id, names.UNUSUAL_COUNT: each.unusual_features},
            )

    def reported(self) -> None:
        """See `RunProbe`."""
        self.span.set_attribute(names.DRIFT_REPORT_URL, self.report_url)

    def finished(self, result: RunResult) -> None:
        """See `RunProbe`."""
        self.span.set_attributes(
            {
                names.DRIFT_RECOMMENDATION: result.recommendation,
                names.DRIFT_DECISION: result.decision,
                names.DRIFT_REASON: result.reason,
                names.DRIFT_SHARE.name: result.share or 0.0,
                names.DRIFT_ROWS: result.current.rows or 0,
                names.DRIFT_SUBJECTS: result.current.subjects or 0,
                names.DRIFT_DETECTED_FEATURES: [each.feature for each in result.features if each.detected],
                names.MODEL_VERSION: result.model.version or "",
            }
        )
        self.runs.add(1, {names.DRIFT_RECOMMENDATION: result.recommendation})
        self.gauges.show(result, self.now_s())

    def unknown(self, kind: str, reason: str) -> None:
        """See `RunProbe`."""
        known = kind if kind in UNKNOWN_KINDS else "other"
        self.span.set_attributes({names.DRIFT_RECOMMENDATION: "UNKNOWN", names.DRIFT_REASON: reason})
        if known != "too_few_rows":  # too few rows are not an error
            self.span.set_status(Status(StatusCode.ERROR, reason))
            self.span.set_attribute(names.ERROR_TYPE, known)
        self.runs.add(1, {names.DRIFT_RECOMMENDATION: "UNKNOWN", names.ERROR_TYPE: known})
        self.gauges.unknown()
