"""What happened while predictions were made, in the domain's words; the null version tells nobody.

`service.telemetry.otel` tells OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from leeway.store.record import PredictionRecord

REJECTION_REASONS = ("missing", "wrong_type", "out_of_range", "unknown", "malformed")
"""`error.type` of `leeway.request.rejected`."""

Cause: TypeAlias = tuple[str | None, str]
"""Why an item was refused: the feature at fault (None: none in particular), and one of `REJECTION_REASONS`."""


@dataclass(frozen=True, slots=True)
class TraceRef:
    """The current request's trace: 32 and 16 hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """One look-up of snapshots. `began_at_ns` is Unix time."""

    began_at_ns: int
    duration_ns: int
    asked: int
    found: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Scoring:
    """One call of the model, for `rows` rows; `unusual` names each row's unusual features. `began_at_ns` as above."""

    began_at_ns: int
    duration_ns: int
    inference_ns: int
    rows: int
    unusual: Sequence[tuple[str, ...]]


class PredictionProbe(Protocol):
    """Told what happened while a prediction was made."""

    def trace_ref(self) -> TraceRef | None:
        """The trace to name in the answer; None where telemetry is off."""

    def looked_up(self, lookup: Lookup) -> None:
        """Snapshots were looked up, found or not."""

    def scored(self, scoring: Scoring) -> None:
        """The model was called."""

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:
        """A single prediction was made."""

    def batch_asked(self, items: int) -> None:
        """A batch of so many items came, good ones and bad ones."""

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """A batch was answered."""

    def failed(self, error_type: str, duration_s: float) -> None:
        """A single prediction could not be made."""

    def refused(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """One item was refused before scoring, for these causes; nobody wanted to know where it was a check only."""

    def record_spooled(self, count: int) -> None:
        """Answers were written to the spool."""

    def record_lost(self, count: int) -> None:
        """Answers were given without a record."""


class NullPredictionProbe:
    """Tells nobody."""

    def trace_ref(self) -> TraceRef | None:
        """No trace."""
        return None

    def looked_up(self, lookup: Lookup) -> None:
        """Nothing."""

    def scored(self, scoring: Scoring) -> None:
        """Nothing."""

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:
        """Nothing."""

    def batch_asked(self, items: int) -> None:
        """Nothing."""

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """Nothing."""

    def failed(self, error_type: str, duration_s: float) -> None:
        """Nothing."""

    def refused(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """Nothing."""

    def record_spooled(self, count: int) -> None:
        """Nothing."""

    def record_lost(self, count: int) -> None:
        """Nothing."""
