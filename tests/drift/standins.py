"""What stands in for a drift worker's clock, its probe, Evidently, and the rows that were served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from drift.comparison.compare import Reference, compare, plain_measure
from drift.comparison.evidently import Comparison
from drift.telemetry.probe import PredictionTrace, Stage
from leeway.model.card import Card
from leeway.model.drift_plan import DriftPlan
from leeway.schema import FeatureSchema
from tests.leeway.model.bundles import some_rows

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def seconds(self) -> float:
        """The same as Unix time."""
        return self.now.timestamp()

    def forward(self, seconds: float) -> None:
        """Let so many seconds pass; fewer than none set it back."""
        self.now += timedelta(seconds=seconds)


class RememberingProbe:
    """A `DriftProbe`, and the `RunProbe` of each run, that keeps what it is told."""

    trace_id: str | None = None

    def __init__(self) -> None:
        self.results: list[Mapping[str, Any]] = []
        self.unknowns: list[tuple[str, str]] = []
        self.restorations: list[Mapping[str, Any]] = []
        self.links: list[Sequence[PredictionTrace]] = []
        self.ended: list[str] = []

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[RememberingProbe]:  # noqa: ARG002 (the protocol's)
        """See `DriftProbe`."""
        before = len(self.results)
        yield self
        self.ended.append(self.results[-1]["recommendation"] if len(self.results) > before else self.unknowns[-1][0])

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:  # noqa: ARG002 (as above)
        """See `RunProbe`."""
        yield

    def in_force(self, card: Card) -> None:
        """See `DriftProbe`."""

    def restored(self, result: Mapping[str, Any], finished_at: datetime) -> None:  # noqa: ARG002 (as above)
        """See `DriftProbe`."""
        self.restorations.append(result)

    def links_to(self, predictions: Sequence[PredictionTrace]) -> None:
        """See `RunProbe`."""
        self.links.append(predictions)

    def reported(self) -> None:
        """See `RunProbe`."""

    def finished(self, result: Mapping[str, Any]) -> None:
        """See `RunProbe`."""
        self.results.append(result)

    def unknown(self, kind: str, reason: str) -> None:
        """See `RunProbe`."""
        self.unknowns.append((kind, reason))


def plain_compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: FeatureSchema,
    plan: DriftPlan,
    *,
    min_subjects: int = 0,
    current_subjects: int | None = None,
) -> Comparison:
    """As `drift.comparison.evidently.compute_drift`, by the same rules, without Evidently: it costs a second a time."""
    report = compare(
        Reference(reference, schema, plan),
        current,
        plain_measure,
        min_subjects=min_subjects,
        current_subjects=current_subjects,
    )
    page = SimpleNamespace(
        save_html=lambda path: Path(path).write_text("<p>a page</p>"),
        save_json=lambda path: Path(path).write_text("{}"),
    )
    return Comparison(report, page)


def calm_rows(count: int, seed: int = 2) -> pd.DataFrame:
    """Rows as the small model's reference has them."""
    return some_rows(count, seed)[0]


def shifted_rows(count: int, seed: int = 2) -> pd.DataFrame:
    """The same ten years older: one feature of three drifted."""
    frame = calm_rows(count, seed)
    return frame.assign(age=frame["age"] + 10)
