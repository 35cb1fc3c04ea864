"""The events of the drift worker. The base classes do nothing; `drift.telemetry.otel` reports to OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from drift.result import RunResult
from leeway.model.card import Card

Stage = Literal["load reference", "load window", "compare", "judge", "publish"]
STAGES: tuple[Stage, ...] = ("load reference", "load window", "compare", "judge", "publish")


@dataclass(frozen=True)
class PredictionTrace:
    """A served prediction with its trace and its number of unusual features."""

    trace_id: str
    span_id: str
    prediction_id: str
    unusual_features: int


class RunProbe:
    """Observes one run."""

    @property
    def trace_id(self) -> str | None:
        """The run's trace, 32 hex digits; None without telemetry."""
        return None

    def stage(self, name: Stage) -> AbstractContextManager[None]:  # noqa: ARG002 (for subclasses)
        """The block is this stage of the run; an exception passes through."""
        return nullcontext()

    def links_to(self, predictions: Sequence[PredictionTrace]) -> None:
        """These are the window's most unusual predictions."""

    def reported(self) -> None:
        """The run's report was written."""

    def finished(self, result: RunResult) -> None:
        """The run compared the window."""

    def unknown(self, kind: str, reason: str) -> None:
        """The run could not compare the window: `kind` is from a small set for metrics, `reason` is for people."""


class DriftProbe:
    """Observes all runs."""

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[RunProbe]:  # noqa: ARG002 (for subclasses)
        """A run over the window [start, end) starts, and ends with the block."""
        yield RunProbe()

    def active_bundle(self, card: Card) -> None:
        """The bundle with this card is the active one."""

    def restored(self, result: RunResult, finished_at: datetime) -> None:
        """After a restart, the last result was read from the database."""
