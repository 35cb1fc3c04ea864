"""What happened while the service answered, in the domain's words.

Each base class is its own null version: the methods do nothing. `service.telemetry.otel` reports to OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from leeway.store.record import PredictionRecord

REJECTION_REASONS = ("missing", "wrong_type", "out_of_range", "unknown", "malformed")
"""`error.type` of `leeway.request.rejected`."""

Cause: TypeAlias = tuple[str | None, str]
"""Why an item was rejected: the feature at fault (None: no particular one), and one of `REJECTION_REASONS`."""


@dataclass(frozen=True, slots=True)
class TraceRef:
    """The current request's trace: 32 and 16 hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


class PredictionProbe:
    """Takes the events of predictions."""

    def trace_ref(self) -> TraceRef | None:
        """The trace to name in the answer; None where telemetry is off."""
        return None

    def looked_up(self, began_at_ns: int, duration_ns: int, *, asked: int, found: int, error: str | None) -> None:
        """Snapshots were looked up, found or not. `began_at_ns` is Unix time."""

    def scored(self, began_at_ns: int, duration_ns: int, inference_ns: int, unusual: Sequence[tuple[str, ...]]) -> None:
        """The model was called; `unusual` names each row's unusual features. `began_at_ns` is Unix time."""

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:
        """A single prediction was answered."""

    def batch_received(self, items: int) -> None:
        """A batch of this many items arrived, valid or not."""

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """A batch was answered."""

    def failed(self, error_type: str, duration_s: float) -> None:
        """A single prediction failed."""

    def rejected(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """One item was rejected before scoring, for these causes."""

    def record_spooled(self, count: int) -> None:
        """Answers were written to the spool."""

    def record_lost(self, count: int) -> None:
        """Answers were sent without a record."""


class FaultProbe:
    """Takes the faults that were injected."""

    def fault_injected(self, fault: str, value: str | None, probability: float) -> None:
        """The current request met `fault`, which applies with this probability; `value` says how much of it."""
