"""A run with all that telemetry holds of it, and a detector that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from opentelemetry.sdk.trace import ReadableSpan

from leeway.telemetry import names
from tests.drift.cycles import World
from tests.telemetry import Measured, Telemetry

ONLY_KEPT = 45
"""How many predictions of the real window have a trace that was kept."""


@dataclass(frozen=True)
class Told:
    """A run, and what telemetry holds of it."""

    world: World
    telemetry: Telemetry
    measured: Measured

    @property
    def row(self) -> dict[str, Any]:
        """The run in the database."""
        (row,) = self.world.runs()
        return row

    @property
    def result(self) -> dict[str, Any]:
        """Its result document."""
        return dict(self.row["result"])

    @property
    def root(self) -> ReadableSpan:
        """Its span."""
        (span,) = self.telemetry.spans(names.SPAN_DRIFT_RUN)
        return span


def broken(*_arguments: object, **_options: object) -> NoReturn:
    """A detector that fails."""
    raise ZeroDivisionError("in the middle of it")
