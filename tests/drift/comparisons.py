"""Frames with columns of every kind, their comparison, and findings that need no comparison."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from drift.comparison.compare import PreparedReference, WindowColumns, compare
from drift.comparison.findings import DriftReport, PerformanceWindow, SingleValue
from drift.inputs import ComparisonInputs
from drift.result import FeatureDrift, ScoreDrift, Window
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Observation
from leeway.data.population import Population
from leeway.data.tabular import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan, frame_values
from leeway.model.figures import Figure
from leeway.model.performance import Estimate
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA, SCORE_COLUMN, Feature, FeatureSchema
from tests.leeway.model.bundles import golden_card

SCHEMA = FeatureSchema(
    (
        Feature("amount", "number", nullable=True),
        Feature("count", "integer", nullable=True),
        Feature("flag", "flag", nullable=True),
        Feature("kind", "category", nullable=True),
        Feature("still", "number", nullable=True),
        Feature("never", "number", nullable=True),
    )
)
ROWS = 400


def columns(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> dict[str, Any]:
    """Columns of every kind: one constant, one entirely missing, and gaps in the others."""
    rng = np.random.default_rng(seed)

    def gaps(values: list[Any]) -> list[Any]:
        return [None if hole else value for value, hole in zip(values, rng.random(rows) < 0.1, strict=True)]

    return {
        "amount": gaps(rng.normal(10, 3, rows).tolist()),
        "count": gaps(rng.integers(0, 3, rows).tolist()),
        "flag": gaps((rng.random(rows) < 0.4).tolist()),
        "kind": gaps([("a", "b", "c")[place] for place in rng.integers(0, 3, rows)]),
        "still": [5.0] * rows,
        "never": [None] * rows,
    } | changes


def frame(rows: int = ROWS, seed: int = 1, **changes: list[Any]) -> pd.DataFrame:
    """A typed frame of `columns`."""
    return typed_frame(SCHEMA, columns(rows, seed, **changes))


REFERENCE = frame(rows=500, seed=0)
PLAN = DriftPlan.from_reference(SCHEMA, REFERENCE)


def prepared(frame: pd.DataFrame, schema: FeatureSchema = SCHEMA, plan: DriftPlan = PLAN) -> PreparedReference:
    """A frame as a reference."""
    return PreparedReference(frame_values(frame, schema), schema, plan)


def compared(reference: PreparedReference, current: pd.DataFrame, min_subjects: int = 0) -> DriftReport:
    """Compare a frame, one row a subject, with the reference."""
    return compare(reference, window_of(reference, current), min_subjects=min_subjects)


def window_of(reference: PreparedReference, current: pd.DataFrame) -> WindowColumns:
    """A frame as a window."""
    return WindowColumns.of(frame_values(current, reference.schema), reference)


def report_of(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE, plan: DriftPlan = PLAN) -> DriftReport:
    """Compare two frames."""
    return compared(prepared(reference, SCHEMA, plan), current)


def inputs_of(reference: PreparedReference, current: pd.DataFrame, **changes: Any) -> ComparisonInputs:  # noqa: ANN401 (fields of the inputs)
    """What a run compares: a frame, one row a subject, with the reference."""
    return ComparisonInputs(
        reference,
        window_of(reference, current),
        lambda: frame_values(current, reference.schema),
        **{"reference_window": Window(), "current_window": Window(subjects=len(current))} | changes,
    )


def features_of(people: Population) -> pd.DataFrame:
    """The customers' features, typed."""
    return typed_frame(CHURN_SCHEMA, people.columns)


def scored(bundle: Bundle, frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the model's scores."""
    return frame.assign(**{SCORE_COLUMN: bundle.scorer.score(encode_frame(bundle.encoder, frame))})


def with_column(frame: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:  # noqa: ANN401 (whatever a column takes)
    """The same rows with other values of one feature."""
    return frame.assign(**{name: pd.Series(values, index=frame.index).astype(frame[name].dtype)})


def drawn(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """This many rows, drawn with replacement."""
    return frame.iloc[rng.integers(0, len(frame), rows)]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW_S = 900
POLICY = Policy()
CARD = golden_card(figures={"roc_auc": Estimate(0.84, 0.82, 0.86), "brier": Estimate(0.14, 0.13, 0.15)})


def feature(name: str = "f0", score: float | None = 0.05, **changes: object) -> FeatureDrift:
    """A feature that did not drift, unless the score says so."""
    return FeatureDrift(name, "wasserstein", score, 0.1, **{"detected": score is not None and score >= 0.1} | changes)  # type: ignore[arg-type]  # a test names the fields it means


def report(
    *features: FeatureDrift,
    drifted: int = 0,
    score: float | None = 0.02,
    rows: int = 1_000,
    single_values: Mapping[str, SingleValue] | None = None,
) -> DriftReport:
    """Ten features, the ones given first, of which `drifted` more drifted; the model's scores at distance `score`."""
    rest = [feature(f"f{place}", 0.2 if place < drifted else 0.05) for place in range(10 - len(features))]
    prediction = None if score is None else ScoreDrift("wasserstein", score, 0.1, score >= 0.1)
    return DriftReport((*features, *rest), prediction, 2_000, rows, single_values or {})


def labelled(auc: float, margin: float = 0.02, labels: int = 2_000, squared: float = 0.14) -> PerformanceWindow:
    """A window of labels, 26 % of them positive, with these estimates."""
    area, error = Estimate(auc, auc - margin, auc + margin), Estimate(squared, squared - 0.008, squared + 0.008)
    baseline: dict[Figure, float] = {"roc_auc": 0.5, "brier": 0.26 * 0.74}
    return PerformanceWindow(labels, "binary", {"roc_auc": area, "brier": error}, CARD.figures, baseline)


def seen(
    found: DriftReport | None, minute: float = 0, performance: PerformanceWindow | None = None, version: str = "v1"
) -> Observation:
    """An observation whose window ended this many minutes after noon."""
    end = NOON + timedelta(minutes=minute)
    start = end - timedelta(seconds=WINDOW_S)
    return Observation(version, start, end, found, "the window is empty", None, performance)
