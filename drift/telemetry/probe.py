"""What happens in the drift worker, in the domain's words; telemetry implements it, and the domain never sees more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from leeway.model.card import Card

Stage = Literal["load reference", "load window", "compare", "judge", "publish"]
STAGES: tuple[Stage, ...] = ("load reference", "load window", "compare", "judge", "publish")


@dataclass(frozen=True)
class PredictionTrace:
    """Where a served prediction's trace is, and why it is worth a look."""

    trace_id: str
    span_id: str
    prediction_id: str
    unusual_features: int


class RunProbe(Protocol):
    """Is told how one run goes."""

    @property
    def trace_id(self) -> str | None:
        """The run's trace, 32 hex digits; None where telemetry is off."""
        ...

    def stage(self, name: Stage) -> AbstractContextManager[None]:
        """What happens inside the block is this stage; an exception passes through and is marked."""
        ...

    def links_to(self, predictions: Sequence[PredictionTrace]) -> None:
        """These predictions are the window's most unusual."""
        ...

    def reported(self) -> None:
        """The run's report can be read."""
        ...

    def finished(self, result: Mapping[str, Any]) -> None:
        """The run could see; `result` is its result document."""
        ...

    def unknown(self, kind: str, reason: str) -> None:
        """The run could not see: `kind` from a small set for metrics, `reason` for people."""
        ...


class DriftProbe(Protocol):
    """Is told of every run."""

    def run(self, run_id: str, start: datetime, end: datetime) -> AbstractContextManager[RunProbe]:
        """A run over the window [start, end) begins, and ends with the block."""
        ...

    def in_force(self, card: Card) -> None:
        """The bundle with this card is the one that is judged now."""
        ...

    def restored(self, result: Mapping[str, Any], finished_at: datetime) -> None:
        """After a restart, the last run's result was taken up from the database."""
        ...


class NullRunProbe:
    """Tells nobody."""

    trace_id: str | None = None

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:  # noqa: ARG002 (the interface's)
        """See `RunProbe`."""
        yield

    def links_to(self, predictions: Sequence[PredictionTrace]) -> None:
        """See `RunProbe`."""

    def reported(self) -> None:
        """See `RunProbe`."""

    def finished(self, result: Mapping[str, Any]) -> None:
        """See `RunProbe`."""

    def unknown(self, kind: str, reason: str) -> None:
        """See `RunProbe`."""


class NullDriftProbe:
    """Tells nobody."""

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[NullRunProbe]:  # noqa: ARG002 (as above)
        """See `DriftProbe`."""
        yield NullRunProbe()

    def in_force(self, card: Card) -> None:
        """See `DriftProbe`."""

    def restored(self, result: Mapping[str, Any], finished_at: datetime) -> None:
        """See `DriftProbe`."""
