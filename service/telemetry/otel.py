"""Reports the service's events to OpenTelemetry.

Spans are created afterwards from measured times: the use case needs no context managers, and a request that is not
sampled costs a few clock readings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import compress

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.store.record import PredictionRecord
from leeway.telemetry import names
from leeway.telemetry.instruments import counter, histogram, observe, tallied
from leeway.telemetry.tally import SampledSpan
from service.spool.monitor import DrainerMonitor
from service.spool.spool import Spool, SpoolError
from service.telemetry.probe import (
    REJECTION_REASONS,
    AnsweredRequest,
    Cause,
    FaultProbe,
    KeyProbe,
    LookupCall,
    ModelCall,
    PredictionProbe,
    TraceRef,
)

UNUSUAL_FROM, STRANGE_FROM = 1, 3
MOST_OUTCOMES = 20
"""So many classes are counted by name."""
_NANOSECONDS = 1e9


def typicality(unusual_features: int) -> str:
    """Usual (0 unusual features), unusual (1-2) or strange (3 or more)."""
    if unusual_features >= STRANGE_FROM:
        return "strange"
    return "unusual" if unusual_features >= UNUSUAL_FROM else "usual"


class OTelPredictionProbe(PredictionProbe):
    """Records metrics with `meter`, and child spans of the current request with `tracer`, for the model of `card`."""

    def __init__(self, tracer: Tracer, meter: Meter, card: Card, feature_names: Sequence[str]) -> None:
        self._tracer = tracer
        self._known = frozenset(feature_names)
        self._model = {names.MODEL_VERSION: card.version}
        self._typicality = {kind: self._model | {names.TYPICALITY: kind} for kind in ("usual", "unusual", "strange")}
        self._position = card.position
        self._classes = dict(zip(card.target.classes, card.target.class_names, strict=True))
        counted = counted_outcomes(card)
        self._outcome = {each: self._model | {names.OUTCOME: counted[name]} for each, name in self._classes.items()}
        self._prediction = histogram(meter, names.PREDICTION_DURATION)
        self._scores = histogram(meter, names.PREDICTION_SCORES)
        self._outcomes = tallied(meter, names.PREDICTION_OUTCOMES)
        self._outcome_cells = {each: self._outcomes.cell(own) for each, own in self._outcome.items()}
        self._unusual = histogram(meter, names.UNUSUAL_FEATURES)
        self._inference = histogram(meter, names.INFERENCE_DURATION)
        self._lookup = histogram(meter, names.LOOKUP_DURATION)
        self._of_typicality = {kind: self._prediction.series(own) for kind, own in self._typicality.items()}
        self._inference_of_model = self._inference.series(self._model)
        self._unusual_of_model = self._unusual.series(self._model)
        self._scores_of_model = self._scores.series(self._model)
        self._of_lookup = self._lookup.series()
        self._rejected = counter(meter, names.REQUEST_REJECTED)
        self._spooled = tallied(meter, names.LOG_SPOOLED)
        self._unrecorded = counter(meter, names.LOG_UNRECORDED)
        for feature in (*feature_names, names.OTHER):
            for reason in REJECTION_REASONS if feature == names.OTHER else REJECTION_REASONS[:3]:
                self._rejected.add(0, {names.FEATURE_NAME: feature, names.ERROR_TYPE: reason})
        self._unrecorded.add(0)
        for own in self._outcome.values():
            self._outcomes.add(0, own)

    def outcome(self, record: PredictionRecord) -> str | None:
        """The predicted class as text; None for a number."""
        return self._classes.get(record.prediction)

    def _count_outcomes(self, records: Iterable[PredictionRecord]) -> None:
        if self._outcome:
            for prediction, count in Counter([record.prediction for record in records]).items():
                self._outcomes.add(count, self._outcome[prediction])

    def trace_ref(self) -> TraceRef | None:
        """See `PredictionProbe`."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return TraceRef(
            trace.format_trace_id(context.trace_id),
            trace.format_span_id(context.span_id),
            sampled=context.trace_flags.sampled,
        )

    def looked_up(self, call: LookupCall) -> None:
        """See `PredictionProbe`."""
        failure = {names.ERROR_TYPE: call.error} if call.error else {}
        self._lookup.record(call.duration_ns / _NANOSECONDS, failure)
        if not trace.get_current_span().is_recording():
            return
        attributes: dict[str, str | int] = {names.SNAPSHOT_FOUND: call.found == call.asked, **failure}
        if call.asked > 1:
            attributes[names.SNAPSHOT_ASKED] = call.asked
        span = self._tracer.start_span(names.SPAN_SNAPSHOT_LOOKUP, start_time=call.began_at_ns, attributes=attributes)
        if call.error:
            span.set_status(Status(StatusCode.ERROR, call.error))
        span.end(call.began_at_ns + call.duration_ns)

    def scored(self, call: ModelCall) -> None:
        """See `PredictionProbe`."""
        unusual = call.unusual
        self._inference.record(call.inference_ns / _NANOSECONDS, self._model)
        self._unusual.record_all(map(len, unusual), self._model)
        if not trace.get_current_span().is_recording():
            return
        attributes: dict[str, AttributeValue] = {**self._model, names.UNUSUAL_COUNT: max(map(len, unusual))}
        if len(unusual) > 1:
            attributes[names.SCORE_ROWS] = len(unusual)
        elif unusual[0]:
            attributes[names.UNUSUAL_NAMES] = unusual[0]
        span = self._tracer.start_span(names.SPAN_SCORE, start_time=call.began_at_ns, attributes=attributes)
        span.end(call.began_at_ns + call.duration_ns)

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:
        """See `PredictionProbe`."""
        kind = typicality(record.unusual_features)
        self._prediction.record(duration_s, self._typicality[kind])
        self._scores.record(self._position(record.score), self._model)
        self._count_outcomes([record])
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes(
                {
                    names.PREDICTION_ID: record.prediction_id,
                    names.MODEL_VERSION: record.model_version,
                    names.PREDICTION_SCORE: record.score,
                    names.TYPICALITY: kind,
                    names.UNUSUAL_COUNT: record.unusual_features,
                    names.PREDICTION_RECORDED: recorded,
                }
            )
            if outcome := self.outcome(record):
                span.set_attribute(names.OUTCOME, outcome)
            if record.is_synthetic:
                _mark_synthetic()

    def answered_together(
        self,
        requests: Sequence[AnsweredRequest],
        spans: Sequence[SampledSpan | None],
        durations_s: Sequence[float],
        at_ns: int,
    ) -> None:
        """Single predictions were answered together; `spans` are the sampled server spans, `at_ns` is Unix time."""
        records = [request.record for request in requests]
        unusual = [record.unusual_features for record in records]
        kinds = [typicality(count) for count in unusual]
        for kind in set(kinds):
            is_of_kind = [each == kind for each in kinds]
            durations_of_kind, spans_of_kind = compress(durations_s, is_of_kind), compress(spans, is_of_kind)
            self._prediction.record_each(self._of_typicality[kind], durations_of_kind, spans_of_kind, at_ns)
        scores = [self._position(record.score) for record in records]
        self._scores.record_each(self._scores_of_model, scores, spans, at_ns)
        self._unusual.record_each(self._unusual_of_model, unusual, spans, at_ns)
        for record in records if self._outcome_cells else ():
            self._outcome_cells[record.prediction].amount += 1
        inference_s = requests[0].call.inference_ns / _NANOSECONDS
        self._inference.record_each(self._inference_of_model, [inference_s], spans[:1], at_ns)
        found = zip(requests, spans, strict=True)
        lookups = {id(each.lookup): (each.lookup, span) for each, span in found if each.lookup is not None}
        for lookup, span in lookups.values():
            self._lookup.record_each(self._of_lookup, [lookup.duration_ns / _NANOSECONDS], [span], at_ns)

    def batch_received(self, items: int) -> None:
        """See `PredictionProbe`."""
        trace.get_current_span().set_attribute(names.BATCH_SIZE, items)

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """See `PredictionProbe`."""
        self._scores.record_all([self._position(record.score) for record in records], self._model)
        self._count_outcomes(records)
        trace.get_current_span().set_attributes(self._model)
        if any(record.is_synthetic for record in records[:1]):  # one header marks all or none
            _mark_synthetic()

    def failed(self, error_type: str, duration_s: float) -> None:
        """See `PredictionProbe`."""
        self._prediction.record(duration_s, self._model | {names.ERROR_TYPE: error_type})
        trace.get_current_span().set_attribute(names.ERROR_TYPE, error_type)

    def rejected(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """See `PredictionProbe`."""
        if is_synthetic:
            _mark_synthetic()
        for feature, reason in causes:
            name = feature if feature in self._known else names.OTHER
            self._rejected.add(1, {names.FEATURE_NAME: str(name), names.ERROR_TYPE: reason})

    def record_spooled(self, count: int) -> None:
        """See `PredictionProbe`."""
        self._spooled.add(count)

    def record_lost(self, count: int) -> None:
        """See `PredictionProbe`."""
        self._unrecorded.add(count)


def _mark_synthetic() -> None:
    trace.get_current_span().set_attribute(names.PREDICTION_SYNTHETIC, True)  # noqa: FBT003 (OpenTelemetry's signature)


def observe_spool(meter: Meter, spool: Spool) -> None:
    """Report backlog, age, size and limit of `spool`; a spool that cannot be read leaves a gap."""

    def value(read: Callable[[], float]) -> Iterable[tuple[float, Mapping[str, str]]]:
        with suppress(SpoolError):
            yield read(), {}

    observe(meter, names.LOG_BACKLOG, lambda: value(spool.backlog))
    observe(meter, names.LOG_BACKLOG_AGE, lambda: value(spool.backlog_age_s))
    observe(meter, names.SPOOL_SIZE, lambda: value(spool.size_bytes))
    observe(meter, names.SPOOL_LIMIT, lambda: [(spool.limit_bytes, {})])


def observe_drainer(meter: Meter, monitor: DrainerMonitor) -> None:
    """Report whether the drainer is alive and, from now on, what it stores."""
    written, unrecorded = counter(meter, names.LOG_WRITTEN), counter(meter, names.LOG_UNRECORDED)
    written.add(0)
    unrecorded.add(0)
    observe(meter, names.DRAINER_UP, lambda: [(int(monitor.is_alive()), {})])
    monitor.start(written.add, unrecorded.add)


def observe_score_reference(meter: Meter, bundle: Bundle) -> None:
    """Report the cumulative distribution of the reference's scores by bucket, and the shares of predicted classes."""
    reference = bundle.card.score_reference
    shares = [
        (share, {names.MODEL_VERSION: bundle.version, names.BUCKET_BOUND: str(bound)})
        for bound, share in zip(reference.bounds, reference.shares, strict=True)
    ]
    observe(meter, names.SCORE_REFERENCE, lambda: shares)
    outcomes: dict[str, float] = {}
    for name, outcome in counted_outcomes(bundle.card).items():
        outcomes[outcome] = outcomes.get(outcome, 0.0) + reference.outcomes.get(name, 0.0)
    counted = [
        (share, {names.MODEL_VERSION: bundle.version, names.OUTCOME: outcome}) for outcome, share in outcomes.items()
    ]
    observe(meter, names.OUTCOME_REFERENCE, lambda: counted)


def counted_outcomes(card: Card) -> dict[str, str]:
    """The value of `leeway.prediction.outcome` for each class: of many classes the rarer ones share `_other`."""
    shares = card.score_reference.outcomes
    common = sorted(shares, key=lambda name: -shares[name])[:MOST_OUTCOMES]
    return {name: name if name in common else names.OTHER for name in card.target.class_names}


class OTelFaultProbe(FaultProbe):
    """Marks the current request's span, by the semantic conventions for feature flags.

    The conventions make each evaluation an event: the span has one per injected fault. The span's own attributes, which
    searches look at, are those of the last one.
    """

    def fault_injected(self, fault: str, value: str | None, probability: float) -> None:
        """See `FaultProbe`."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes = {
            names.FLAG_KEY: fault,
            names.FLAG_VARIANT: "on",
            names.FLAG_REASON: "split" if probability < 1 else "static",  # the conventions' words: by chance, or always
            names.FLAG_PROVIDER: "leeway",
        }
        if value is not None:
            attributes[names.FLAG_VALUE] = value
        span.set_attributes(attributes)
        span.add_event(names.EVENT_FLAG_EVALUATED, attributes)


class OTelKeyProbe(KeyProbe):
    """Counts requests by API key and outcome, and names the key on the request's span."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[str | None, str]]()

    def counts(self) -> list[tuple[float, Mapping[str, str]]]:
        """The sums since the process started, with their attributes."""
        return [
            (count, {names.API_KEY_OUTCOME: outcome} | ({} if name is None else {names.API_KEY_NAME: name}))
            for (name, outcome), count in list(self._counts.items())
        ]

    def admitted(self, name: str) -> None:
        """See `KeyProbe`."""
        self._counts[name, "admitted"] += 1
        trace.get_current_span().set_attribute(names.API_KEY_NAME, name)

    def admitted_below_asgi(self, name: str) -> None:
        """See `KeyProbe`."""
        self._counts[name, "admitted"] += 1

    def rejected(self, reason: str, name: str | None) -> None:
        """See `KeyProbe`."""
        self._counts[name, reason] += 1
        if name is not None:
            trace.get_current_span().set_attribute(names.API_KEY_NAME, name)
