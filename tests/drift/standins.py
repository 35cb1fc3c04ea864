"""What stands in for a drift worker's clock, its probe, Evidently, and the rows that were served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from drift.comparison.compare import Reference, compare, plain_measure
from drift.comparison.evidently import Comparison
from drift.result import RunResult
from drift.telemetry.probe import DriftProbe, RunProbe
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


class RememberingProbe(DriftProbe, RunProbe):
    """Observes the worker and each of its runs, and remembers what it observed."""

    def __init__(self) -> None:
        self.results: list[RunResult] = []
        self.unknowns: list[tuple[str, str]] = []
        self.restorations: list[RunResult] = []
        self.ended: list[str] = []

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[RememberingProbe]:  # noqa: ARG002 (the base class's)
        """The run's recommendation, or its kind of UNKNOWN, is appended to `ended`."""
        before = len(self.results)
        yield self
        self.ended.append(self.results[-1].recommendation if len(self.results) > before else self.unknowns[-1][0])

    def restored(self, result: RunResult, finished_at: datetime) -> None:  # noqa: ARG002 (as above)
        """Remember it."""
        self.restorations.append(result)

    def finished(self, result: RunResult) -> None:
        """Remember it."""
        self.results.append(result)

    def unknown(self, kind: str, reason: str) -> None:
        """Remember both."""
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
