"""What a run of the drift worker may have seen, for the tests of what is made of it; no comparison is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from drift.comparison.findings import DriftReport, PerformanceWindow
from drift.result import FeatureDrift, ScoreDrift
from drift.verdicts.confirmation import Policy
from drift.verdicts.verdicts import Observation
from leeway.model.performance import Estimate
from tests.leeway.model.bundles import golden_card

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW_S = 900
POLICY = Policy()
CARD = golden_card(roc_auc=Estimate(0.84, 0.82, 0.86), brier=Estimate(0.14, 0.13, 0.15))


def feature(name: str = "f0", score: float | None = 0.05, **changes: object) -> FeatureDrift:
    """A feature that did not drift, unless the score says so."""
    return FeatureDrift(name, "wasserstein", score, 0.1, **{"detected": score is not None and score >= 0.1} | changes)  # type: ignore[arg-type]  # a test names the fields it means


def report(
    *features: FeatureDrift,
    drifted: int = 0,
    score: float | None = 0.02,
    rows: int = 1_000,
    began_to_vary: frozenset[str] = frozenset(),
) -> DriftReport:
    """Ten features, the ones given first, of which `drifted` more drifted; the model's scores at distance `score`."""
    rest = [feature(f"f{place}", 0.2 if place < drifted else 0.05) for place in range(10 - len(features))]
    prediction = None if score is None else ScoreDrift("wasserstein", score, 0.1, score >= 0.1)
    return DriftReport((*features, *rest), prediction, 2_000, rows, rows, began_to_vary)


def labelled(auc: float, margin: float = 0.02, labels: int = 2_000, squared: float = 0.14) -> PerformanceWindow:
    """So many labels, 26 % of them positive, on which the model did so well."""
    area, error = Estimate(auc, auc - margin, auc + margin), Estimate(squared, squared - 0.008, squared + 0.008)
    return PerformanceWindow(labels, 0.26, area, error, CARD.roc_auc, CARD.brier)


def seen(
    found: DriftReport | None, minute: float = 0, performance: PerformanceWindow | None = None, version: str = "v1"
) -> Observation:
    """What a run saw whose window ended so many minutes after noon."""
    end = NOON + timedelta(minutes=minute)
    start = end - timedelta(seconds=WINDOW_S)
    return Observation(version, start, end, found, "the window is empty", None, performance)
