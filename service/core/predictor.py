"""The use case: find the features, score them, record the answer. Independent of FastAPI, SQL and OpenTelemetry.

Errors:
    PredictionError
    ├── UnknownCustomer        no snapshot of this customer
    ├── NoSnapshots            no snapshots at all for this model's schema
    ├── SnapshotStoreDown      the snapshot store is unreachable
    ├── NoScore                the model's answer is not a number
    └── NotRecorded            recording is required and failed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import repeat
from math import isfinite
from time import perf_counter_ns, time_ns
from typing import Protocol, TypeAlias

import uuid_utils
from msgspec import Struct

from leeway.model.answers import Answers
from leeway.model.bundle import Bundle
from leeway.schema import FeatureRow
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from service.core.pacing import paced, pause_if_many
from service.core.recording import Recorder
from service.telemetry.probe import LookupCall, ModelCall, PredictionProbe, TraceRef


class PredictionError(Exception):
    """A prediction failed; the message is for the client."""


class UnknownCustomer(PredictionError):
    """No snapshot of this customer exists."""


class NoSnapshots(PredictionError):
    """No snapshots at all exist for this model's schema."""


class SnapshotStoreDown(PredictionError):
    """The snapshot store is unreachable."""


class NoScore(PredictionError):
    """The model's answer for these features is not a number."""


class NotRecorded(PredictionError):
    """The answer could not be recorded, and recording is required."""


class PredictionRequest(Struct, frozen=True, gc=False):
    """What to predict for: a customer's newest snapshot, or (valid) features. Exactly one is set.

    `is_synthetic` excludes the prediction from drift windows: see `leeway.store.record.PredictionRecord`.
    """

    user_id: str | None = None
    features: FeatureRow | None = None
    is_synthetic: bool = False


Usable: TypeAlias = tuple[str | None, date | None, FeatureRow, bool]
"""What can be scored: customer, date of the snapshot, features, and whether the request is synthetic."""

LookedUp: TypeAlias = Mapping[str, Snapshot] | PredictionError
"""The snapshots that were found, by customer, or why none could be."""


class Prediction(Struct, frozen=True, gc=False):
    """An answer: what was used, what came out, and whether it was recorded."""

    record: PredictionRecord
    recorded: bool
    trace_id: str | None


class SnapshotSource(Protocol):
    """Where customers' features are: `leeway.store.snapshots.Snapshots`, or a fake."""

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """The newest snapshot of each customer that has one.

        Raises:
            leeway.store.snapshots.SnapshotsUnavailable: the store is unreachable.
        """

    def is_empty(self) -> bool:
        """Whether the store has no snapshots at all; raises as above."""


@dataclass(frozen=True)
class Predictor:
    """Answers prediction requests, one or many at a time; safe to call from several threads.

    >>> probe = PredictionProbe()
    >>> predictor = Predictor(bundle, snapshots, Recorder(spool, probe, required=False), probe)
    >>> prediction = predictor.predict(PredictionRequest(user_id="7590-VHVEG"))
    >>> prediction.record.as_of, prediction.recorded
    (datetime.date(2026, 1, 31), True)
    """

    bundle: Bundle
    snapshots: SnapshotSource
    recorder: Recorder
    probe: PredictionProbe
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def predict(self, request: PredictionRequest) -> Prediction:
        """Answer one request.

        Raises:
            PredictionError: one of its subclasses, see the top of this module.
        """
        started_ns = perf_counter_ns()
        try:
            answer = _only(self._answer([request]))
        except Exception as error:
            self.probe.failed(type(error).__name__, _seconds_since(started_ns))
            raise
        self.probe.answered(answer.record, _seconds_since(started_ns), recorded=answer.recorded)
        return answer

    def predict_batch(self, requests: Sequence[PredictionRequest]) -> list[Prediction | PredictionError]:
        """Answer many requests, in order, with one lookup and one call of the model; each fails on its own.

        The probe receives neither durations nor failures: they are not comparable with those of single predictions.

        Raises:
            NotRecorded: the answers could not be recorded, and recording is required.
        """
        answers = self._answer(requests)
        self.probe.batch_answered([answer.record for answer in answers if isinstance(answer, Prediction)])
        return answers

    def _answer(self, requests: Sequence[PredictionRequest]) -> list[Prediction | PredictionError]:
        looked_up, lookup_s = self._look_up([request.user_id for request in requests if request.user_id is not None])
        found = [self.usable(request, looked_up) for request in requests]
        usable = [each for each in found if not isinstance(each, PredictionError)]
        records = iter(self._score(usable, lookup_s) if usable else [])
        trace = self.probe.trace_ref()
        answers = [each if isinstance(each, PredictionError) else next(records) for each in found]
        kept = self.recorder.record([each for each in answers if isinstance(each, PredictionRecord)])
        pause_if_many(len(kept))
        error = NotRecorded("The prediction could not be recorded, and this service requires it: try again later.")
        if kept and self.recorder.required and not any(kept):
            raise error
        recorded = iter(kept)

        def answer(record: PredictionRecord) -> Prediction | PredictionError:
            if not (is_recorded := next(recorded)) and self.recorder.required:
                return error
            return Prediction(record, is_recorded, trace.trace_id if trace else None)

        return [each if isinstance(each, PredictionError) else answer(each) for each in answers]

    def _look_up(self, user_ids: Sequence[str]) -> tuple[LookedUp, float | None]:
        """The snapshots of these customers, or the error; and the seconds it took."""
        if not user_ids:
            return {}, None
        result, call = self.look_up(user_ids)
        self.probe.looked_up(call)
        return result, call.duration_ns / 1e9

    def look_up(self, user_ids: Sequence[str]) -> tuple[LookedUp, LookupCall]:
        """The snapshots of these customers, or why there are none, in one query; may wait for the database."""
        began_at_ns, started_ns = time_ns(), perf_counter_ns()
        result: LookedUp
        error, found = None, 0
        try:
            result = self.snapshots.lookup_many(user_ids)
            found = len(result)
            if not found and self.snapshots.is_empty():
                result = NoSnapshots(
                    "No feature snapshots exist for this model yet: run `leeway ingest`, or send features."
                )
        except SnapshotsUnavailable:
            result = SnapshotStoreDown("The snapshot store is unreachable: try again later, or send features.")
        if isinstance(result, PredictionError):
            error = type(result).__name__
        return result, LookupCall(began_at_ns, perf_counter_ns() - started_ns, len(set(user_ids)), found, error)

    def usable(self, request: PredictionRequest, looked_up: LookedUp) -> Usable | PredictionError:
        """What to score for `request`, or why there is nothing."""
        if request.user_id is None:
            return None, None, request.features or (), request.is_synthetic
        if isinstance(looked_up, PredictionError):
            return looked_up
        snapshot = looked_up.get(request.user_id)
        if snapshot is None:
            return UnknownCustomer("No snapshot of this customer exists: check the user_id, or send features.")
        return snapshot.user_id, snapshot.as_of, snapshot.features, request.is_synthetic

    def _score(self, usable: Sequence[Usable], lookup_s: float | None) -> list[PredictionRecord | PredictionError]:
        answers, call = self._call_model([features for _, _, features, _ in usable])
        pause_if_many(len(usable))
        self.probe.scored(call)
        trace = self.probe.trace_ref()
        records = self._records(paced(usable), answers, call, repeat(lookup_s), repeat(trace))
        pause_if_many(len(records))
        return [record if isfinite(record.score) else _no_score() for record in records]

    def answer_together(
        self,
        usable: Sequence[Usable],
        lookups_s: Iterable[float | None],
        traces: Iterable[TraceRef | None],
    ) -> tuple[list[PredictionRecord], list[bool], ModelCall]:
        """Score requests of several clients in one call, and record them in one write, without reporting to the probe.

        `lookups_s` are the seconds that each waited for its features. Also returns which of the records are kept. If
        recording is required, the caller must answer the others again, which reports the loss.

        Raises:
            Exception: the model failed. Nothing is recorded: answer each alone.
        """
        answers, call = self._call_model([features for _, _, features, _ in usable])
        if not isfinite(sum(answers.scores)):
            raise _no_score()
        records = self._records(usable, answers, call, lookups_s, traces)
        kept = self.recorder.keep(records)[0] if self.recorder.required else self.recorder.record(records)
        return records, kept, call

    def _call_model(self, rows: Sequence[FeatureRow]) -> tuple[Answers, ModelCall]:
        """The model's answers for the rows."""
        bundle = self.bundle
        began_at_ns, started_ns = time_ns(), perf_counter_ns()
        encoded = bundle.encoder.encode(rows)
        unusual = bundle.encoder.unusual(encoded)
        inference_started_ns = perf_counter_ns()
        outputs = bundle.scorer.score(encoded)
        ended_ns = perf_counter_ns()
        call = ModelCall(began_at_ns, ended_ns - started_ns, ended_ns - inference_started_ns, unusual)
        return bundle.card.answers(outputs), call

    def _records(
        self,
        usable: Iterable[Usable],
        answers: Answers,
        call: ModelCall,
        lookups_s: Iterable[float | None],
        traces: Iterable[TraceRef | None],
    ) -> list[PredictionRecord]:
        now, inference_s = self.now(), call.inference_ns / 1e9
        version, probabilities = self.bundle.version, answers.probabilities or repeat(())
        return [
            PredictionRecord(  # positional arguments: keywords double the time for a thousand records
                str(uuid_utils.uuid7()),
                now,
                version,
                user_id,
                as_of,
                features,
                score,
                prediction,
                len(names),
                lookup_s,
                inference_s,
                trace.trace_id if trace and trace.sampled else None,
                trace.span_id if trace and trace.sampled else None,
                is_synthetic,
                shares,
            )
            for (user_id, as_of, features, is_synthetic), score, prediction, shares, names, lookup_s, trace in zip(
                usable,
                answers.scores,
                answers.predictions,
                probabilities,
                call.unusual,
                lookups_s,
                traces,
                strict=False,
            )
        ]


def _only(answers: Sequence[Prediction | PredictionError]) -> Prediction:
    (answer,) = answers
    if isinstance(answer, PredictionError):
        raise answer
    return answer


def _no_score() -> NoScore:
    return NoScore("The model's answer is not a number: these features may be too far from those it was trained on.")


def _seconds_since(started_ns: int) -> float:
    return (perf_counter_ns() - started_ns) / 1e9
